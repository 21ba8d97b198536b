//! The page as a browser shows it: nothing is cut off, nothing lies over something else, no plot is empty.

#[path = "../../../../../../tests/e2e/skipped.rs"]
mod skipped;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::page;
use crate::bench::experiment::report::tests::report;

/// Pixels of the window.
const SIZE: (u32, u32) = (1400, 2600);

/// What the browser says of the page.
#[derive(Debug, Deserialize)]
struct Looked {
    /// Texts that are not wholly within their plot.
    cut: Vec<String>,
    /// Texts that lie over each other.
    over: Vec<String>,
    /// Colours of marks and texts that hardly differ from the background.
    faint: Vec<String>,
    /// Elements that are wider than their place.
    wide: Vec<String>,
    /// Of each plot its name, its place in the window, and how many of its marks can be seen.
    plots: Vec<(String, [f64; 4], u32)>,
}

/// What looks at the page from inside.
const LOOK: &str = r"<script>
const found = {cut: [], over: [], faint: [], wide: [], plots: []};
const light = (colour) => {
  const parts = colour.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const contrast = (one, other) => {
  const [a, b] = [light(one), light(other)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const ground = getComputedStyle(document.body).backgroundColor;
for (const plot of document.querySelectorAll('svg.plot')) {
  const place = plot.getBoundingClientRect();
  const texts = [...plot.querySelectorAll('text')].map((it) => [it.firstChild.data, it.getBoundingClientRect(), it]);
  for (const [text, box, it] of texts) {
    if (box.left < place.left - 1 || box.right > place.right + 1 || box.top < place.top - 1
        || box.bottom > place.bottom + 1 || box.width < 1) found.cut.push(text);
    if (contrast(getComputedStyle(it).fill, ground) < 4.5) found.faint.push(text);
  }
  texts.forEach(([one, a], index) => texts.slice(index + 1).forEach(([other, b]) => {
    if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3)
      found.over.push(one + ' / ' + other);
  }));
  const marks = [...plot.querySelectorAll('.mark')].filter((it) => {
    if (contrast(getComputedStyle(it).stroke, ground) < 3) found.faint.push(it.getAttribute('class'));
    const box = it.getBoundingClientRect();
    return box.width + box.height > 2;
  });
  found.plots.push([plot.getAttribute('aria-label'), [place.left, place.top, place.width, place.height], marks.length]);
}
for (const it of document.querySelectorAll('html, .wide, figure, .legend'))
  if (it.scrollWidth > it.clientWidth + 1) found.wide.push(it.tagName + '.' + it.className);
const out = document.createElement('pre');
out.id = 'looked';
out.hidden = true;
out.textContent = JSON.stringify(found);
document.body.append(out);
</script>";

/// A browser on this machine.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless_shell"];
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found = env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name)));
    found.find(|program| program.is_file())
}

/// Shows a page and gives what the browser printed.
fn show(browser: &Path, home: &Path, dark: bool, arguments: &[String]) -> Vec<u8> {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"])
        .arg(format!("--window-size={},{}", SIZE.0, SIZE.1))
        .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)))
        .arg(format!("--user-data-dir={}", home.join("profile").display()))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Pixels in a part of a picture that have not the colour that most of them have.
fn drawn(picture: &Path, [left, top, width, height]: [f64; 4]) -> usize {
    let decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(picture).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let samples = info.color_type.samples();
    let mut seen = std::collections::HashMap::<&[u8], usize>::new();
    for (number, pixel) in bytes[..info.buffer_size()].chunks_exact(samples).enumerate() {
        let (x, y) = (number as f64 % f64::from(info.width), (number / info.width as usize) as f64);
        if (left..left + width).contains(&x) && (top..top + height).contains(&y) {
            *seen.entry(pixel).or_default() += 1;
        }
    }
    let all: usize = seen.values().sum();
    let ground = seen.values().max().copied().unwrap_or(0);
    all - ground
}

#[test]
fn nothing_is_cut_off_and_no_plot_is_empty() {
    let test = "nothing_is_cut_off_and_no_plot_is_empty";
    let Some(browser) = browser() else {
        skipped::skipped(test, "SPANGATE_REQUIRE_BROWSER", "there is no Chromium");
        return;
    };
    skipped::runs(test);
    let page = page(&report(6));
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("report.html");
    fs::write(&file, page.replace("</body>", &format!("{LOOK}</body>"))).unwrap();
    let address = format!("file://{}", file.display());
    for dark in [false, true] {
        let dom = show(&browser, home.path(), dark, &["--dump-dom".to_owned(), address.clone()]);
        let dom = String::from_utf8(dom).unwrap();
        let said = dom.split("id=\"looked\"").nth(1).and_then(|rest| rest.split_once('>')).unwrap().1;
        let said = said.split("</pre>").next().unwrap().replace("&amp;", "&").replace("&lt;", "<");
        let looked: Looked = serde_json::from_str(&said.replace("&gt;", ">")).unwrap();
        assert_eq!((&looked.cut, &looked.over), (&vec![], &vec![]), "{looked:#?}");
        assert_eq!((&looked.faint, &looked.wide), (&vec![], &vec![]), "{looked:#?}");
        assert!(looked.plots.len() == 8 && looked.plots.iter().all(|plot| plot.2 >= 3), "{looked:#?}");
        let picture = home.path().join(if dark { "dark.png" } else { "light.png" });
        let shot = format!("--screenshot={}", picture.display());
        show(&browser, home.path(), dark, &[shot, address.clone()]);
        for (name, place, _) in &looked.plots {
            let drawn = drawn(&picture, *place);
            assert!(drawn > 2_000, "{name} has only {drawn} pixels that are not background");
        }
        if let Some(kept) = env::var_os("SPANGATE_KEEP_PICTURES") {
            let name = picture.file_name().unwrap();
            fs::copy(&picture, Path::new(&kept).join(name)).unwrap();
        }
    }
}
