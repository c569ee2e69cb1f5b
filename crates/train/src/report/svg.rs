//! The page's colours in plotters' drawings. plotters writes fixed colours into each element; it is given one made-up
//! colour for each role, and here, in one place, these become classes that `style.css` colours for light, dark and paper.

use plotters::style::RGBColor;

/// What an element of a plot is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Text,
    Axis,
    Grid,
    /// Training, every step of it.
    Raw,
    /// Training, smoothed.
    Train,
    /// Validation.
    Valid,
    /// Bars of training data, or of what is so.
    Bar,
    /// One of many.
    Point,
    /// Between what is and what should be.
    Gap,
    /// A place on an axis: the best step, a limit.
    Mark,
    /// A place on an axis that matters less: an epoch's end, the diagonal.
    Guide,
    /// One of several runs.
    Run(u8),
}

/// Runs with a colour of their own; further ones begin again.
pub(super) const RUNS: u8 = 8;

const ROLES: [(Role, &str); 19] = [
    (Role::Text, "text"),
    (Role::Axis, "axis"),
    (Role::Grid, "grid"),
    (Role::Raw, "raw"),
    (Role::Train, "train"),
    (Role::Valid, "valid"),
    (Role::Bar, "bar"),
    (Role::Gap, "gap"),
    (Role::Point, "point"),
    (Role::Mark, "mark"),
    (Role::Guide, "guide"),
    (Role::Run(0), "run0"),
    (Role::Run(1), "run1"),
    (Role::Run(2), "run2"),
    (Role::Run(3), "run3"),
    (Role::Run(4), "run4"),
    (Role::Run(5), "run5"),
    (Role::Run(6), "run6"),
    (Role::Run(7), "run7"),
];

impl Role {
    /// Of the n-th of several runs.
    pub(super) fn of_run(n: usize) -> Self {
        Self::Run((n % usize::from(RUNS)) as u8)
    }

    /// What the classes of `style.css` end in.
    pub(super) fn class(self) -> &'static str {
        ROLES[self.number()].1
    }

    fn number(self) -> usize {
        ROLES.iter().position(|(role, _)| *role == self).expect("every role is in the list")
    }

    /// The colour that stands for it until [`themed`] has seen the drawing.
    pub(super) fn colour(self) -> RGBColor {
        RGBColor(0xfe, 0x01, self.number() as u8)
    }
}

/// Text within an element.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What is inside plotters' `<svg>`, with classes for colours and without what the page's style says once.
pub(super) fn themed(svg: &str) -> String {
    let inside = svg.split_once('>').map_or("", |(_, rest)| rest);
    let mut themed = inside.trim_end().trim_end_matches("</svg>").replace(">\n", ">").replace("\n<", "<");
    for (role, class) in ROLES {
        let RGBColor(red, green, blue) = role.colour();
        let colour = format!("#{red:02X}{green:02X}{blue:02X}");
        themed = themed
            .replace(&format!("fill=\"{colour}\""), &format!("class=\"fill-{class}\""))
            .replace(&format!("stroke=\"{colour}\""), &format!("class=\"line-{class}\""));
    }
    for said_once in [" opacity=\"1\"", " stroke=\"none\"", " fill=\"none\"", " font-family=\"sans-serif\""] {
        themed = themed.replace(said_once, "");
    }
    themed.replace(" \"/>", "\"/>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes() {
        let drawn = "<svg width=\"8\" height=\"8\" viewBox=\"0 0 8 8\" xmlns=\"http://www.w3.org/2000/svg\">\n\
            <polyline fill=\"none\" opacity=\"1\" stroke=\"#FE0104\" stroke-width=\"6\" points=\"0,0 8,8 \"/>\n\
            <text x=\"1\" font-family=\"sans-serif\" opacity=\"1\" fill=\"#FE0100\">\n0.5\n</text>\n\
            <rect opacity=\"1\" fill=\"#FE0106\" stroke=\"none\"/>\n</svg>\n";
        assert_eq!(
            themed(drawn),
            "<polyline class=\"line-train\" stroke-width=\"6\" points=\"0,0 8,8\"/>\
             <text x=\"1\" class=\"fill-text\">0.5</text><rect class=\"fill-bar\"/>"
        );
    }
}
