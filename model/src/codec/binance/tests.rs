//! Both readers, on messages as the venue sends them and on mangled ones.
