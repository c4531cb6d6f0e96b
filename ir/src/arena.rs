//! Typed handles and the maps they index.
//!
//! A handle is a small `Copy` number that means something only together with the map it came from. Handles are
//! never reused, so a stale one reads an erased entry and is caught by the verifier instead of naming something else.

use std::marker::PhantomData;

/// A typed index into an [`Arena`].
pub trait Handle: Copy + Eq + Ord + std::hash::Hash + std::fmt::Debug {
    /// The handle with number `index`.
    fn new(index: usize) -> Self;
    /// The handle's number.
    fn index(self) -> usize;
}

/// Declares handle types.
macro_rules! define_handles {
    ($($(#[$meta:meta])* $name:ident)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $crate::arena::Handle for $name {
            fn new(index: usize) -> Self {
                Self(u32::try_from(index).expect("fewer than 2^32 entities in a function"))
            }
            fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}{}", stringify!($name).to_lowercase(), self.0)
            }
        }
    )*};
}
pub(crate) use define_handles;

/// An append-only map from handles to entries.
#[derive(Clone, Debug)]
pub struct Arena<K, V> {
    entries: Vec<V>,
    key: PhantomData<K>,
}

impl<K, V> Default for Arena<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new(), key: PhantomData }
    }
}

impl<K: Handle, V> Arena<K, V> {
    /// Adds an entry and returns its handle.
    pub fn push(&mut self, entry: V) -> K {
        self.entries.push(entry);
        K::new(self.entries.len() - 1)
    }

    /// The entry of `key`, if the handle belongs to this map.
    pub fn get(&self, key: K) -> Option<&V> {
        self.entries.get(key.index())
    }

    /// How many handles were ever handed out.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no handle was handed out.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All handles, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = K> + use<K, V> {
        (0..self.entries.len()).map(K::new)
    }
}

impl<K: Handle, V> std::ops::Index<K> for Arena<K, V> {
    type Output = V;
    fn index(&self, key: K) -> &V {
        &self.entries[key.index()]
    }
}

impl<K: Handle, V> std::ops::IndexMut<K> for Arena<K, V> {
    fn index_mut(&mut self, key: K) -> &mut V {
        &mut self.entries[key.index()]
    }
}
