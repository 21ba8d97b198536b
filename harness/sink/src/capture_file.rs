//! Captures as files: one OTLP JSON export a line, as the Collector's file exporter writes them.
//!
//! A name that ends in `.zst` is compressed with zstd. A file is written under a temporary name and renamed
//! when it is whole, so that a file of that name is never a part of one. What JSON has no number for (NaN,
//! infinities) comes back as an empty value.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use crate::{
    otlp_json,
    store::{Snapshot, Store},
    wire,
};

/// A capture file that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureFileError {
    /// The file cannot be written.
    #[error("cannot write the capture {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the capture {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is not an OTLP JSON export.
    #[error("{}, line {line}: not an OTLP JSON trace export", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A line has spans that cannot be kept.
    #[error(
        "{}, line {line}: {invalid} spans have an invalid trace, span or parent id",
        path.display()
    )]
    Ids {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// How many.
        invalid: u64,
    },
}

/// A file that is removed unless it is renamed.
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

/// Writes what `store` holds now to `path`, whose directory must exist.
///
/// It blocks; the store can take more meanwhile, which is not written.
pub fn write(path: &Path, store: &Store) -> Result<(), CaptureFileError> {
    let snapshot = store.freeze();
    write_to(path, &snapshot).map_err(|source| CaptureFileError::Write { path: path.to_owned(), source })
}

/// Reads a file that [`write()`] or the Collector's file exporter wrote; empty lines are passed over.
///
/// It blocks.
pub fn read(path: &Path) -> Result<Store, CaptureFileError> {
    let failed = |source| CaptureFileError::Read { path: path.to_owned(), source };
    let file = BufReader::new(File::open(path).map_err(failed)?);
    let mut lines: Box<dyn BufRead> = if is_zstd(path) {
        Box::new(BufReader::new(zstd::Decoder::with_buffer(file).map_err(failed)?))
    } else {
        Box::new(file)
    };

    let store = Store::new();
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        if lines.read_until(b'\n', &mut text).map_err(failed)? == 0 {
            break;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        let export = otlp_json::read(&text).map_err(|source| CaptureFileError::Line {
            path: path.to_owned(),
            line,
            source,
        })?;
        let receipt = store
            .append(&export.encode_to_vec().into())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        if receipt.invalid > 0 {
            return Err(CaptureFileError::Ids { path: path.to_owned(), line, invalid: receipt.invalid });
        }
    }
    Ok(store)
}

fn write_to(path: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let mut temporary = Temporary::beside(path)?;
    let file = BufWriter::new(File::create(&temporary.path)?);
    let file = if is_zstd(path) {
        let mut encoder = zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
        write_lines(&mut encoder, snapshot)?;
        encoder.finish()?
    } else {
        let mut file = file;
        write_lines(&mut file, snapshot)?;
        file
    };
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    temporary.rename(path)
}

fn write_lines(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    for (bytes, kept) in snapshot.chunks() {
        serde_json::to_writer(&mut *out, &export(bytes, kept.as_deref()))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The export in `bytes`, with only the spans at the offsets `kept` when those are given.
fn export(bytes: &Bytes, kept: Option<&[u32]>) -> ExportTraceServiceRequest {
    let mut export =
        ExportTraceServiceRequest::decode(bytes.clone()).expect("a store keeps only what prost can decode");
    let Some(kept) = kept else { return export };

    // A walk meets the spans in the order in which prost decoded them.
    let mut keep = Vec::new();
    wire::walk(bytes, |span| {
        keep.push(u32::try_from(span.range.start).is_ok_and(|offset| kept.binary_search(&offset).is_ok()));
    })
    .expect("a store keeps only what can be walked");
    let mut keep = keep.into_iter();
    for scope in export.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans) {
        scope.spans.retain(|_| keep.next().unwrap_or_default());
    }
    for resource in &mut export.resource_spans {
        resource.scope_spans.retain(|scope| !scope.spans.is_empty());
    }
    export.resource_spans.retain(|resource| !resource.scope_spans.is_empty());
    export
}

fn is_zstd(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

// === impl Temporary ===

impl Temporary {
    /// A name in the directory of `path`, where a rename is atomic.
    fn beside(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", std::process::id()));
        Ok(Self { path: path.with_file_name(hidden), renamed: false })
    }

    fn rename(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // The error that led here is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
