//! Jinja2's filters where they write or compute otherwise than those of the engine, or are not among them.

mod html;
mod links;
mod lists;
mod numeric;
mod order;
mod pretty;
mod texts;
mod wrap;

use minijinja::Environment;

use super::json;
pub(super) use order::Group;

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", json::tojson);
    texts::add_to(environment);
    wrap::add_to(environment);
    html::add_to(environment);
    links::add_to(environment);
    numeric::add_to(environment);
    lists::add_to(environment);
    order::add_to(environment);
}
