//! How a scenario says what went wrong.

/// Anything that fails a scenario.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a scenario comes to.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Fails the scenario unless the condition holds.
macro_rules! check {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!("{}:{}: {}", file!(), line!(), format_args!($($words)+)).into());
        }
    };
}

/// Fails the scenario unless both are equal.
macro_rules! equal {
    ($left:expr, $right:expr, $($words:tt)+) => {
        match (&$left, &$right) {
            (left, right) => {
                $crate::outcome::check!(left == right, "{}: {left:?} is not {right:?}", format_args!($($words)+));
            }
        }
    };
}

/// Fails the scenario unless the value has this shape.
macro_rules! shape {
    ($value:expr, $pattern:pat $(if $guard:expr)?, $($words:tt)+) => {
        match &$value {
            $pattern $(if $guard)? => {}
            other => $crate::outcome::check!(false, "{}: {other:?}", format_args!($($words)+)),
        }
    };
}

pub(crate) use {check, equal, shape};
