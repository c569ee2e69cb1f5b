//! The names of LoRA's tensors, and which shapes go with them.

use super::magnitude::MAGNITUDE;
use crate::peft::PREFIX;

/// What the names of A and B end in, of a linear layer and of an embedding.
pub(super) const LINEAR: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
pub(super) const EMBEDDING: [&str; 2] = [".lora_embedding_A", ".lora_embedding_B"];

/// `M.lora_A.default.weight` is `M.lora_A.weight`, and `M.lora_magnitude_vector.default.weight` `M.lora_magnitude_vector`.
pub(super) fn plain(tensor: &str) -> String {
    if let Some((module, _)) = tensor.split_once(&format!("{MAGNITUDE}.")) {
        return format!("{module}{MAGNITUDE}");
    }
    for factor in [".lora_A.", ".lora_B."] {
        if let Some((module, rest)) = tensor.split_once(factor)
            && let Some((_, parameter)) = rest.split_once('.')
        {
            return format!("{module}{factor}{parameter}");
        }
    }
    tensor.to_string()
}

/// What is wrong with the shape of a tensor, as what would be expected instead.
pub(super) fn wrong_shape(
    tensor: &str,
    shape: &[usize],
    shape_of: &dyn Fn(&str) -> Option<Vec<usize>>,
) -> Option<String> {
    if tensor.ends_with(MAGNITUDE) {
        return (!matches!(shape, &[length] if length > 0)).then(|| "a vector, [d_output]".to_string());
    }
    // Of an embedding A and B lie as of a linear layer: [rank, rows] and [width, rank].
    let endings = [LINEAR, EMBEDDING].into_iter().find(|endings| endings.iter().any(|it| tensor.ends_with(it)))?;
    let &[rows, columns] = shape else { return Some("a matrix".to_string()) };
    if rows == 0 || columns == 0 {
        return Some("a matrix that is not empty".to_string());
    }
    // A is as high as B is wide.
    let a = format!("{}{}", tensor.strip_suffix(endings[1])?, endings[0]);
    let rank = *shape_of(&a)?.first()?;
    (rank != columns).then(|| format!("[{rows}, {rank}]: the rank of `{}{a}` is {rank}", PREFIX))
}

/// The side of this tensor that is a rank.
pub(super) fn rank_side(tensor: &str) -> Option<usize> {
    let is = |ending: &str| tensor.ends_with(ending);
    match (is(LINEAR[0]) || is(EMBEDDING[0]), is(LINEAR[1]) || is(EMBEDDING[1])) {
        (true, _) => Some(0),
        (_, true) => Some(1),
        _ => None,
    }
}
