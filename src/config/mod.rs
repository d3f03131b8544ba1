//! The configuration file: what is written (`file`) becomes what is true (`check`).
