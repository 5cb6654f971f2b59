//! [`Attributes`] as the pairs of text that they define themselves.

use proc_core::Attributes;

use crate::wire::{DecodeError, Reader, Writer};

pub(super) fn put_attributes(out: &mut Writer, attributes: &Attributes) {
    for (key, value) in attributes.pairs() {
        out.nested(1, |out| {
            out.str(1, &key).str(2, &value);
        });
    }
}

pub(super) fn attributes(mut fields: Reader<'_>) -> Result<Attributes, DecodeError> {
    let mut attributes = Attributes::default();
    while let Some(field) = fields.next()? {
        if field.tag != 1 {
            continue;
        }
        let (mut key, mut value) = (String::new(), String::new());
        let mut inner = field.fields();
        while let Some(field) = inner.next()? {
            match field.tag {
                1 => key = field.string("attribute")?,
                2 => value = field.string("attribute")?,
                _ => {}
            }
        }
        // An attribute that this shim does not know must not be ignored: the service would run
        // without it.
        attributes
            .set(&key, &value)
            .map_err(|_| DecodeError::Invalid("attribute"))?;
    }
    Ok(attributes)
}
