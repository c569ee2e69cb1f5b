//! A tokenizer that cannot read the data: said by `init`, by the plan, by the run and in its report.

use serde_json::json;

use crate::project::Project;

const GREEK: &str = "Η γρήγορη καφέ αλεπού πηδά πάνω από το τεμπέλικο σκυλί";
const CHINESE: &str = "这家酒店的服务非常好，房间也很干净，下次还会再来";

fn rows(text: &str) -> String {
    (0..12).map(|n| format!("{}\n", json!({"text": format!("{text} {n}"), "label": n % 3}))).collect()
}

#[test]
fn what_the_vocabulary_lacks_is_said_everywhere() {
    let project = Project::new().file("greek.jsonl", rows(GREEK)).file("zh.jsonl", rows(CHINESE));
    for file in ["greek.jsonl", "zh.jsonl"] {
        let data = format!("data.train={file}");
        let dry = project.train(&["--dry-run", "--set", &data]).done();
        let advice =
            "the model cannot tell these apart: take one whose vocabulary has them, such as a multilingual one";
        assert!(
            dry.stderr.contains(&format!(" of the tokens of [DIR]/{file} are unknown to the tokenizer: ")),
            "{}",
            dry.stderr
        );
        assert!(dry.stderr.contains(advice), "{}", dry.stderr);
        let output = format!("output_dir=runs/{file}");
        let ran = project.train(&["--quiet", "--set", &data, "--set", &output]).done();
        assert!(ran.stderr.contains(dry.stderr.lines().next().unwrap()), "{}", ran.stderr);
        assert!(project.read(&format!("runs/{file}/report.html")).contains("are unknown to the tokenizer"));
        let ran = project.run(&["init", file, "--model", "bert", "--quiet"]).done();
        assert!(ran.stderr.contains("are unknown to the tokenizer"), "{}", ran.stderr);
        let configuration = project.read(&file.replace(".jsonl", ".toml"));
        assert!(configuration.contains("are unknown to the tokenizer"), "{configuration}");
    }
}
