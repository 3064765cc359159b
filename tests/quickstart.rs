//! The quickstart as a newcomer runs it, and as the README shows it.

mod support;

const README: &str = include_str!("../README.md");
const EXAMPLE: &str = include_str!("../examples/quickstart.rs");

#[test]
fn it_buys_reads_and_sells() {
    let output = support::example("quickstart", &[], None).output().expect("the quickstart");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("bought 1000000 in "), "{text}");
    assert_eq!(lines[1], "1000000 to sell, read from Cache");
    assert!(lines[2].starts_with("sold 1000000, landed at slot "), "{text}");
}

#[test]
fn the_readme_shows_the_same_code() {
    let section = README.split_once("## Embed it").expect("the section").1;
    let code = section.split_once("```rust,no_run\n").expect("its code").1.split("```").next();
    let shown: Vec<&str> = code.expect("its end").lines().filter(|line| !line.starts_with('#')).collect();
    assert!(shown.len() > 20, "{shown:#?}");
    for name in ["trade", "send"] {
        let begins = EXAMPLE.find(&format!("async fn {name}(")).expect("the function");
        let function = EXAMPLE[begins..].split_once("\n}").expect("its end").0;
        for line in function.lines() {
            assert!(shown.contains(&line), "the README lacks {line:?}");
        }
    }
}
