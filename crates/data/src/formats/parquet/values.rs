//! Parquet's values as JSON: texts, numbers and booleans as what they are, lists and structs as arrays and objects, and
//! what JSON has no type for (dates, times, decimals, UUIDs) as text. Bytes are text where they are UTF-8, which old
//! writers do not say, and null otherwise; so are numbers that are not finite. A text of the type JSON, at whatever
//! depth, is the value that it spells.

use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use ::parquet::record::{Field, Row};
use ::parquet::schema::types::Type;
use serde_json::{Map, Number, Value};

/// Why a text of the type JSON is none.
#[derive(Debug)]
pub(super) struct Unreadable(pub(super) String);

/// The value of a column. `column` is the field's type, for what the field itself does not tell.
pub(super) fn value(field: Field, column: &Type) -> Result<Value, Unreadable> {
    read(field, Some(column), Nulls::Kept)
}

/// What becomes of the fields of a struct that are null. A Parquet struct has every field that any row has: in a list, as
/// messages and the calls in them are, a null is how the format says that this element lacks the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nulls {
    Kept,
    Absent,
}

/// Without `column` a timestamp in nanoseconds stays the integer it is stored as.
fn read(field: Field, column: Option<&Type>, nulls: Nulls) -> Result<Value, Unreadable> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(it) => it.into(),
        Field::Byte(it) => it.into(),
        Field::Short(it) => it.into(),
        Field::Int(it) => it.into(),
        Field::Long(it) => long(it, column),
        Field::UByte(it) => it.into(),
        Field::UShort(it) => it.into(),
        Field::UInt(it) => it.into(),
        Field::ULong(it) => it.into(),
        Field::Float16(it) => float(it.into()),
        Field::Float(it) => float(it),
        Field::Double(it) => Number::from_f64(it).map_or(Value::Null, Value::Number),
        // A decimal without a fraction is written with a point at its end.
        Field::Decimal(_) => field.to_string().trim_end_matches('.').into(),
        Field::Str(it) if column.is_some_and(is_json) => json(&it)?,
        Field::Str(it) => it.into(),
        Field::Bytes(it) => bytes(it.data(), column),
        Field::Date(days) => date(days.into()).into(),
        Field::TimeMillis(it) => time(it.into(), 3).into(),
        Field::TimeMicros(it) => time(it, 6).into(),
        Field::TimestampMillis(it) => timestamp(it, 3).into(),
        Field::TimestampMicros(it) => timestamp(it, 6).into(),
        Field::Group(row) => object(row, column, nulls)?,
        Field::ListInternal(list) => {
            let element = column.and_then(element);
            let values = list.elements().iter().map(|it| read(it.clone(), element, Nulls::Absent));
            values.collect::<Result<_, _>>()?
        }
        Field::MapInternal(map) => {
            let [key_type, value_type] = entry(column);
            let entries = map
                .entries()
                .iter()
                .map(|(key, it)| Ok((text(read(key.clone(), key_type, nulls)?), read(it.clone(), value_type, nulls)?)));
            Value::Object(entries.collect::<Result<_, _>>()?)
        }
    })
}

/// As today's writers say it, and as older ones did.
fn is_json(column: &Type) -> bool {
    let info = column.get_basic_info();
    info.logical_type_ref() == Some(&LogicalType::Json) || info.converted_type() == ConvertedType::JSON
}

fn json(text: &str) -> Result<Value, Unreadable> {
    json::parse(text.as_bytes()).map_err(|error| Unreadable(error.to_string()))
}

/// The type of a list's elements. A list is a group with one repeated child; writers agree today that this child is a
/// group of its own around the element.
fn element(list: &Type) -> Option<&Type> {
    let [repeated] = children(list) else { return Some(list) };
    match children(repeated) {
        [element] => Some(element),
        _ => Some(repeated),
    }
}

/// The types of a map's keys and values, which stand in a repeated group of two.
fn entry(map: Option<&Type>) -> [Option<&Type>; 2] {
    let entry = map.and_then(|map| children(map).first()).map(|entry| children(entry)).unwrap_or_default();
    [entry.first().map(AsRef::as_ref), entry.get(1).map(AsRef::as_ref)]
}

fn children(column: &Type) -> &[std::sync::Arc<Type>] {
    if column.is_group() { column.get_fields() } else { &[] }
}

fn object(row: Row, column: Option<&Type>, nulls: Nulls) -> Result<Value, Unreadable> {
    let types = column.map(children).unwrap_or_default();
    let fields = row.into_columns();
    // A message says with a null content that it calls instead of talking, and templates ask for that.
    let is_message = fields.iter().any(|(name, _)| name == "role");
    let is_absent = |name: &str, field: &Field| {
        nulls == Nulls::Absent && *field == Field::Null && !(is_message && name == "content")
    };
    let mut object = Map::new();
    for (name, field) in fields {
        if is_absent(&name, &field) {
            continue;
        }
        let column = types.iter().find(|it| it.name() == name);
        let value = read(field, column.map(AsRef::as_ref), nulls)?;
        object.insert(name, value);
    }
    Ok(Value::Object(object))
}

/// The key of a map, which in JSON is text.
fn text(key: Value) -> String {
    match key {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The shortest fraction that stands for this number: 0.1, and not 0.10000000149011612.
fn float(number: f32) -> Value {
    let shortest = number.to_string().parse().ok().and_then(Number::from_f64);
    shortest.map_or(Value::Null, Value::Number)
}

fn long(number: i64, column: Option<&Type>) -> Value {
    match column.and_then(|it| it.get_basic_info().logical_type_ref()) {
        Some(LogicalType::Timestamp(it)) if it.unit == TimeUnit::NANOS => timestamp(number, 9).into(),
        Some(LogicalType::Time(it)) if it.unit == TimeUnit::NANOS => time(number, 9).into(),
        _ => number.into(),
    }
}

fn bytes(data: &[u8], column: Option<&Type>) -> Value {
    if column.and_then(|it| it.get_basic_info().logical_type_ref()) == Some(&LogicalType::Uuid) {
        return uuid(data).into();
    }
    str::from_utf8(data).map_or(Value::Null, Value::from)
}

fn uuid(data: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (n, byte) in data.iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

const SECONDS_A_DAY: i64 = 86_400;

/// `2024-02-29 13:30:00.25`, in the time zone of the column or UTC. `digits` of the number are a fraction of a second.
fn timestamp(number: i64, digits: u32) -> String {
    let a_day = SECONDS_A_DAY * 10_i64.pow(digits);
    format!("{} {}", date(number.div_euclid(a_day)), time(number.rem_euclid(a_day), digits))
}

/// `13:30:00.25`: since midnight, the fraction without its last zeros.
fn time(number: i64, digits: u32) -> String {
    let a_second = 10_i64.pow(digits);
    let (seconds, fraction) = (number.div_euclid(a_second), number.rem_euclid(a_second));
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction == 0 {
        return clock;
    }
    let fraction = format!("{fraction:0width$}", width = digits as usize);
    format!("{clock}.{}", fraction.trim_end_matches('0'))
}

/// `2024-02-29` for days since 1970-01-01, by the Gregorian calendar before it was introduced too, as Parquet has it.
/// Years are counted from 1 March, so that the leap day is the last of its year (Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`).
fn date(days: i64) -> String {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_from_march + 2) / 5 + 1;
    let month = if months_from_march < 10 { months_from_march + 3 } else { months_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates_of_the_gregorian_calendar() {
        let dates = [(0, "1970-01-01"), (-1, "1969-12-31"), (19_782, "2024-02-29"), (11_016, "2000-02-29")];
        for (days, expected) in dates {
            assert_eq!(date(days), expected);
        }
        assert_eq!(date(-25_509), "1900-02-28");
        assert_eq!(date(-25_508), "1900-03-01", "1900 was no leap year");
        assert_eq!(date(i32::MIN.into()), "-5877641-06-23");
    }

    #[test]
    fn a_time_has_the_fraction_that_it_needs() {
        assert_eq!(timestamp(1_706_933_106_000, 3), "2024-02-03 04:05:06");
        assert_eq!(timestamp(1_706_933_106_250, 3), "2024-02-03 04:05:06.25");
        assert_eq!(timestamp(-1, 6), "1969-12-31 23:59:59.999999");
        assert_eq!(timestamp(i64::MIN, 9), "1677-09-21 00:12:43.145224192");
        assert_eq!(time(1, 9), "00:00:00.000000001");
    }

    #[test]
    fn a_narrow_float_keeps_its_own_digits() {
        assert_eq!(float(0.1).to_string(), "0.1");
        assert_eq!(float(f32::MAX).to_string(), "3.4028235e+38");
        assert_eq!(float(f32::NAN), Value::Null);
    }

    #[test]
    fn bytes_are_text_where_they_are_utf8() {
        assert_eq!(bytes("é".as_bytes(), None), Value::from("é"));
        assert_eq!(bytes(b"\xff\xd8", None), Value::Null);
    }
}
