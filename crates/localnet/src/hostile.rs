//! What no honest node sends: messages and answers that are wrong in form.

pub(crate) mod answers;
pub(crate) mod flood;
pub(crate) mod forged;
pub(crate) mod junk;
pub(crate) mod malformed;

/// Declares an enum without data together with the list of all its values.
macro_rules! listed {
    ($(#[$outer:meta])* pub enum $name:ident { $($(#[$inner:meta])* $variant:ident,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$inner])* $variant,)* }

        impl $name {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
        }
    };
}
pub(crate) use listed;
