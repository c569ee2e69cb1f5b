//! Goes through a document as a parser of values does, and keeps none of them.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use crate::TOO_MANY_VALUES;

/// Fails where the document is not JSON, and where its values are more than `most`.
pub(super) fn count(document: &[u8], most: u64) -> serde_json::Result<()> {
    let mut parser = serde_json::Deserializer::from_slice(document);
    Count { left: &mut { most } }.deserialize(&mut parser)?;
    parser.end()
}

struct Count<'a> {
    left: &'a mut u64,
}

impl Count<'_> {
    fn take<E: Error>(&mut self, values: u64) -> Result<(), E> {
        *self.left = self.left.checked_sub(values).ok_or_else(|| E::custom(TOO_MANY_VALUES))?;
        Ok(())
    }

    fn within(&mut self) -> Count<'_> {
        Count { left: self.left }
    }
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.take(1)
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        self.take(1)
    }

    fn visit_i64<E: Error>(mut self, _: i64) -> Result<(), E> {
        self.take(1)
    }

    fn visit_u64<E: Error>(mut self, _: u64) -> Result<(), E> {
        self.take(1)
    }

    fn visit_f64<E: Error>(mut self, _: f64) -> Result<(), E> {
        self.take(1)
    }

    fn visit_str<E: Error>(mut self, _: &str) -> Result<(), E> {
        self.take(1)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        self.take(1)?;
        while elements.next_element_seed(self.within())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        self.take(4)?;
        while let Some(Key) = entries.next_key()? {
            self.take(1)?;
            entries.next_value_seed(self.within())?;
        }
        Ok(())
    }
}

/// A key that is looked at and not kept.
struct Key;

impl<'de> serde::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Key, E> {
                Ok(Key)
            }
        }
        deserializer.deserialize_str(Any)
    }
}
