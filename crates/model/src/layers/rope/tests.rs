//! Angles of rotary positions and their scalings.

use serde_json::json;

use super::*;

#[test]
fn layers_that_turn_differently_have_parameters_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let local = json!({ "rope_type": "default", "rope_theta": 1e4 });
    let config = json!({
        "max_position_embeddings": 64, "rope_theta": 1e6, "rope_parameters": { "sliding_attention": local },
    });
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let config = Config::read(directory.path()).unwrap();
    let of = |parameters: Value| Rope::read_parameters(&config, "rope_parameters", &parameters, 16);
    let local = of(config.values()["rope_parameters"]["sliding_attention"].clone()).unwrap();
    assert_eq!((local.theta, local.dimensions), (1e4, 16));
    // What an object does not say is the model's.
    let global = of(json!({ "rope_type": "linear", "factor": 8.0 })).unwrap();
    assert_eq!((global.theta, global.scaling), (1e6, Scaling::Linear { factor: 8.0 }));
}

fn read(rope: Value) -> Result<Rope, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let config = json!({ "max_position_embeddings": 64, "rope_parameters": rope });
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    Rope::read(&Config::read(directory.path()).unwrap(), 16)
}

/// Frequencies for heads of 16 coordinates as Transformers 5.23's `ROPE_INIT_FUNCTIONS` give them.
#[test]
fn frequencies_are_those_of_transformers() {
    let plain = |rope: Value| (rope, 0);
    let cases: [((Value, usize), [f32; 8]); 6] = [
        (
            plain(json!({ "rope_theta": 1e4 })),
            [1.0, 0.316_227_8, 0.1, 0.031_622_78, 0.01, 0.003_162_278, 0.001, 0.000_316_227_8],
        ),
        (
            plain(json!({ "rope_type": "linear", "factor": 4.0, "rope_theta": 1e4 })),
            [0.25, 0.079_056_94, 0.025, 0.007_905_695, 0.0025, 0.000_790_569_5, 0.00025, 7.905_695e-5],
        ),
        (
            (json!({ "rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4 }), 200),
            [
                1.0,
                0.249_528_5,
                0.062_264_45,
                0.015_536_75,
                0.003_876_863,
                0.000_967_387_5,
                0.000_241_390_7,
                6.023_386e-5,
            ],
        ),
        (
            plain(json!({
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32, "rope_theta": 5e5,
            })),
            [
                1.0,
                0.024_240_34,
                0.004_700_754,
                0.000_911_583_1,
                0.000_176_776_7,
                3.428_102e-5,
                6.647_87e-6,
                1.289_173e-6,
            ],
        ),
        (
            plain(json!({
                "rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 32,
            })),
            [1.0, 0.197_642_4, 0.025, 0.007_905_695, 0.0025, 0.000_790_569_5, 0.00025, 7.905_695e-5],
        ),
        (
            plain(json!({
                "rope_type": "yarn", "factor": 8.0, "rope_theta": 1e4, "original_max_position_embeddings": 2048,
                "mscale": 1.0, "mscale_all_dim": 0.5, "beta_fast": 16, "beta_slow": 2, "truncate": false,
            })),
            [1.0, 0.316_227_8, 0.1, 0.025_771_62, 0.003_305_222, 0.000_395_284_7, 0.000_125, 3.952_847e-5],
        ),
    ];
    for ((rope, length), expected) in cases {
        let found = read(rope.clone()).unwrap().frequencies(length);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-6 * expected, "{rope}: {found} {expected}");
        }
    }
}

/// `ModernBertConfig.convert_rope_params_to_dict`
#[test]
fn each_kind_of_layers_has_its_own_base_in_both_styles() {
    let directory = tempfile::tempdir().unwrap();
    let read = |config: Value, kind: &str, older: (&str, f64)| {
        std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
        Rope::read_kind(&Config::read(directory.path()).unwrap(), 16, kind, older)
    };
    let newer = json!({ "rope_parameters": {
        "full_attention": { "rope_type": "linear", "factor": 4.0, "rope_theta": 1600.0 },
        "sliding_attention": { "rope_type": "default", "rope_theta": 100.0 },
    } });
    let full = read(newer.clone(), "full_attention", ("global_rope_theta", 16e4)).unwrap();
    assert_eq!((full.theta, full.scaling), (1600.0, Scaling::Linear { factor: 4.0 }));
    let sliding = read(newer, "sliding_attention", ("local_rope_theta", 1e4)).unwrap();
    assert_eq!((sliding.theta, sliding.scaling), (100.0, Scaling::Default));
    let older = json!({ "global_rope_theta": 1600.0, "rope_scaling": null });
    assert_eq!(read(older.clone(), "full_attention", ("global_rope_theta", 16e4)).unwrap().theta, 1600.0);
    assert_eq!(read(older, "sliding_attention", ("local_rope_theta", 1e4)).unwrap().theta, 1e4);
    let wrong = read(json!({ "local_rope_theta": 0.5 }), "sliding_attention", ("local_rope_theta", 1e4));
    assert!(wrong.unwrap_err().to_string().ends_with("`local_rope_theta` is 0.5"));
}

#[test]
fn yarn_scales_cosines_and_sines() {
    let attention = |rope: Value| match read(rope).unwrap().scaling {
        Scaling::Yarn { attention, .. } => attention,
        other => panic!("{other:?}"),
    };
    let plain = json!({ "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32 });
    assert!((attention(plain) - 1.138_629_436).abs() < 1e-9);
    let both = json!({
        "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 2048, "mscale": 1.0,
        "mscale_all_dim": 0.5,
    });
    assert!((attention(both) - 1.094_179_988).abs() < 1e-9);
}

fn longrope() -> Value {
    json!({
        "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 32, "partial_rotary_factor": 0.5,
        "short_factor": [1.0, 1.5, 2.0, 4.0], "long_factor": [1.0, 2.0, 8.0, 32.0],
    })
}

/// Values of Transformers 5.23's `_compute_longrope_parameters`.
#[test]
fn longrope_has_other_frequencies_in_sequences_longer_than_those_of_pretraining() {
    let rope = read(longrope()).unwrap();
    let short = [1.0, 0.066_666_67, 0.005, 0.000_25];
    let long = [1.0, 0.05, 0.001_25, 3.125e-5];
    for (length, expected) in [(1, short), (32, short), (33, long), (64, long)] {
        let found = rope.frequencies(length);
        assert_eq!(found.len(), 4);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-6 * expected, "{length}: {found} {expected}");
        }
    }
    let Scaling::LongRope { attention, .. } = rope.scaling else { panic!("{rope:?}") };
    assert!((attention - 1.095_445_115).abs() < 1e-9, "{attention}");
    assert_eq!(
        [(32, 33), (31, 32), (33, 34)].map(|(read, length)| rope.turns_otherwise(read, length)),
        [true, false, false]
    );
}

#[test]
fn sequences_turn_as_the_shortest_that_has_their_frequencies() {
    let dynamic = json!({ "rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0 });
    for rope in [longrope(), dynamic, json!({ "rope_type": "default", "rope_theta": 1e4 })].map(|it| read(it).unwrap())
    {
        for length in [1, 2, 31, 32, 33, 34, 64, 2048, 2049, 5000] {
            let shortest = (1..).find(|other| rope.frequencies(*other) == rope.frequencies(length)).unwrap();
            assert_eq!(rope.turns_as(length), shortest, "{:?}: {length}", rope.scaling);
        }
    }
}

#[test]
fn longrope_in_the_styles_of_older_configurations_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let of = |kind: &str| {
        let mut scaling = longrope();
        let parameters = scaling.as_object_mut().unwrap();
        for newer in ["rope_type", "rope_theta", "original_max_position_embeddings", "partial_rotary_factor"] {
            parameters.remove(newer);
        }
        parameters.insert("type".to_string(), kind.into());
        let older = json!({
            "max_position_embeddings": 64, "original_max_position_embeddings": 32, "rope_theta": 1e4,
            "partial_rotary_factor": 0.5, "rope_scaling": scaling,
        });
        std::fs::write(directory.path().join("config.json"), older.to_string()).unwrap();
        Rope::read(&Config::read(directory.path()).unwrap(), 16).unwrap()
    };
    let newer = read(longrope()).unwrap();
    for kind in ["longrope", "su", "yarn"] {
        let older = of(kind);
        assert_eq!((older.dimensions, older.theta, older.scaling), (8, 1e4, newer.scaling.clone()), "{kind}");
    }
}

#[test]
fn longrope_needs_a_factor_for_each_pair() {
    let mut rope = longrope();
    rope["long_factor"] = json!([1.0, 2.0]);
    let error = read(rope).unwrap_err().to_string();
    assert!(error.ends_with("`rope_parameters` needs `long_factor`, a list of 4 numbers above 0"), "{error}");
}

#[test]
fn the_older_key_means_the_same_and_what_is_unknown_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let older = json!({
        "max_position_embeddings": 64, "rope_theta": 1e4, "rope_scaling": { "type": "linear", "factor": 4.0 },
    });
    std::fs::write(directory.path().join("config.json"), older.to_string()).unwrap();
    let rope = Rope::read(&Config::read(directory.path()).unwrap(), 16).unwrap();
    assert_eq!(rope.scaling, Scaling::Linear { factor: 4.0 });
    assert!(read(json!({ "rope_type": "ntk" })).is_err());
    assert!(read(json!({ "rope_type": "linear" })).is_err(), "it needs a factor");
    for share in [1.75, -0.5] {
        let error = read(json!({ "rope_type": "default", "partial_rotary_factor": share })).unwrap_err().to_string();
        assert!(error.ends_with(&format!("`partial_rotary_factor` is {share}")), "{error}");
    }
}
