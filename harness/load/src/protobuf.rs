//! Kubernetes' protobuf encoding, as far as the load needs it.
//!
//! Bodies stand in an envelope (`k8s.io/apimachinery/pkg/runtime/serializer/protobuf`): four bytes of magic, then a
//! `runtime.Unknown` with the type and the object. Field numbers are those of the `generated.proto` files of
//! `k8s.io/api` and `k8s.io/apimachinery`; what the load neither sends nor reads is left out.

mod apps;
mod core;
mod meta;

use bytes::{Buf, Bytes};
use prost::Message;

use self::meta::{List, TypeMeta, Unknown, WatchEvent};
pub(crate) use self::{
    apps::{Deployment, DeploymentSpec},
    core::{
        ConfigMap, Container, Event, EventSource, ObjectReference, Pod, PodSpec, PodTemplateSpec, Secret,
    },
    meta::{LabelSelector, ObjectMeta},
};

/// Media type of objects in this encoding.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What every envelope begins with.
const MAGIC: &[u8] = b"k8s\0";
/// Bytes of the length in front of each event of a watch
/// (`k8s.io/apimachinery/pkg/util/framer`, `lengthDelimitedFrameWriter`).
const LENGTH: usize = 4;

/// An object in its envelope.
pub(crate) fn envelope(api_version: &str, kind: &str, object: &impl Message) -> Bytes {
    let type_meta = TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() };
    let unknown = Unknown { type_meta: Some(type_meta), raw: object.encode_to_vec().into() };
    let mut body = Vec::with_capacity(MAGIC.len() + unknown.encoded_len());
    body.extend_from_slice(MAGIC);
    unknown.encode_raw(&mut body);
    body.into()
}

/// The token with which a list goes on: empty on its last page. Nothing if `body` is no list in an envelope.
pub(crate) fn continue_token(body: &Bytes) -> Option<String> {
    let list = List::decode(open(body.clone())?).ok()?;
    Some(list.metadata.unwrap_or_default().token)
}

fn open(mut body: Bytes) -> Option<Bytes> {
    if !body.starts_with(MAGIC) {
        return None;
    }
    body.advance(MAGIC.len());
    Some(Unknown::decode(body).ok()?.raw)
}

/// Finds the end of the initial events in a watch, which comes in pieces that end anywhere.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Bytes that are not looked at yet: less than a frame, or than the beginning of one.
    pending: Vec<u8>,
    /// Bytes of a frame that are of no interest and have not come yet.
    skip: usize,
}

/// How an event that is a bookmark begins: field 1, a string of eight bytes.
const BOOKMARK: &[u8] = b"\x0a\x08BOOKMARK";
/// The entry of the annotations that marks the end of the initial events (`metav1.InitialEventsAnnotationKey`).
const INITIAL_EVENTS_END: &[u8] = b"\x0a\x19k8s.io/initial-events-end\x12\x04true";

// === impl Frames ===

impl Frames {
    /// Takes the next bytes; true when one of the events so far ends the initial ones.
    pub(crate) fn initial_events_end(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            self.pending.extend_from_slice(&bytes[skipped..]);
            bytes = &[];
            let Some(length) = self.length() else { return false };
            let head = LENGTH + BOOKMARK.len().min(length);
            if self.pending.len() < head {
                return false;
            }
            // The type comes first, so that all but bookmarks are passed over without being kept.
            if &self.pending[LENGTH..head] == BOOKMARK {
                let Some(frame) = self.pending.get(LENGTH..LENGTH + length) else { return false };
                if ends_initial_events(frame) {
                    return true;
                }
            }
            let frame = LENGTH + length;
            let here = frame.min(self.pending.len());
            self.pending.drain(..here);
            self.skip = frame - here;
        }
    }

    /// Length of the frame that `pending` begins with.
    fn length(&self) -> Option<usize> {
        let length = self.pending.first_chunk::<LENGTH>()?;
        usize::try_from(u32::from_be_bytes(*length)).ok()
    }
}

/// Whether a bookmark has the annotation. The object in it has some type; its metadata is found by its bytes.
fn ends_initial_events(frame: &[u8]) -> bool {
    let Ok(WatchEvent { object: Some(object), .. }) = WatchEvent::decode(frame) else { return false };
    object.raw.windows(INITIAL_EVENTS_END.len()).any(|window| window == INITIAL_EVENTS_END)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        meta::{ListMeta, RawExtension},
        *,
    };

    fn config_map(name: &str) -> ConfigMap {
        let metadata = ObjectMeta { name: name.to_owned(), ..ObjectMeta::default() };
        let data = [("k".to_owned(), "v".to_owned())].into();
        ConfigMap { metadata: Some(metadata), data }
    }

    #[test]
    fn an_envelope_is_what_go_writes() {
        // runtime.Encode of a v1.ConfigMap by k8s.io/client-go's protobuf serializer, but for the empty strings
        // that it writes and this does not.
        let expected =
            b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0d\x0a\x03\x0a\x01x\x12\x06\x0a\x01k\x12\x01v";
        assert_eq!(envelope("v1", "ConfigMap", &config_map("x")).as_ref(), expected);
    }

    #[test]
    fn the_token_of_a_list_is_found_whatever_its_items_are() {
        for token in ["", "abc/def"] {
            let metadata = ListMeta { token: token.to_owned() };
            let mut raw = List { metadata: Some(metadata) }.encode_to_vec();
            // Field 2, an item.
            let item = config_map("x").encode_to_vec();
            raw.extend([0x12, u8::try_from(item.len()).unwrap()]);
            raw.extend(item);
            let unknown = Unknown { type_meta: None, raw: raw.into() };
            let body = [MAGIC, &unknown.encode_to_vec()].concat().into();
            assert_eq!(continue_token(&body).as_deref(), Some(token));
        }
        for body in [&b""[..], b"{}", b"k8s\0\xff"] {
            assert_eq!(continue_token(&Bytes::copy_from_slice(body)), None);
        }
    }

    fn frame(name: &str, annotations: &[(&str, &str)]) -> Vec<u8> {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let metadata = ObjectMeta { annotations: annotations.collect(), ..ObjectMeta::default() };
        let object = ConfigMap { metadata: Some(metadata), ..config_map("x") };
        let raw = envelope("v1", "ConfigMap", &object);
        let event = WatchEvent { name: name.to_owned(), object: Some(RawExtension { raw }) }.encode_to_vec();
        [&u32::try_from(event.len()).unwrap().to_be_bytes(), event.as_slice()].concat()
    }

    const MARK: (&str, &str) = ("k8s.io/initial-events-end", "true");

    #[test]
    fn only_a_bookmark_with_the_annotation_ends_the_initial_events() {
        for other in
            [frame("ADDED", &[MARK]), frame("BOOKMARK", &[]), frame("BOOKMARK", &[(MARK.0, "false")])]
        {
            assert!(!Frames::default().initial_events_end(&other));
        }
        assert!(Frames::default().initial_events_end(&frame("BOOKMARK", &[("a", "b"), MARK])));
    }

    proptest! {
        #[test]
        fn the_end_is_found_however_the_stream_is_cut(added in 0_usize..5, chunk in 1_usize..90) {
            let mut frames = Frames::default();
            let before: Vec<u8> = (0..added).flat_map(|_| frame("ADDED", &[MARK])).collect();
            for piece in before.chunks(chunk) {
                prop_assert!(!frames.initial_events_end(piece));
            }
            prop_assert!(frames.pending.len() < 4 && frames.skip == 0);
            prop_assert!(frame("BOOKMARK", &[MARK]).chunks(chunk).any(|piece| frames.initial_events_end(piece)));
        }
    }
}
