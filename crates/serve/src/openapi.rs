//! What the endpoints take and answer, for programs: OpenAPI 3.1.

use axum::http::header;
use axum::response::IntoResponse;

const DOCUMENT: &str = include_str!("openapi.json");

pub(crate) async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::DOCUMENT;
    use crate::routes::PATHS;

    #[test]
    fn every_path_is_described() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let described: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
        assert_eq!(described, PATHS.iter().collect::<Vec<_>>());
    }
}
