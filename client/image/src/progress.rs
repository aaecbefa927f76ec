use crate::Digest;

/// Told how far the work is; asked whether to go on. Called from several threads at once.
pub trait Progress: Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);

    /// Whether to stop. Asked at least every MiB; nothing stays at the target then.
    fn cancelled(&self) -> bool {
        false
    }
}

/// No progress shown, never stopped.
impl Progress for () {
    fn event(&self, _: Event<'_>) {}
}

/// What a [`Progress`] is told.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// `bytes` of this layer are to be read, all passes counted.
    Started {
        /// Which layer.
        layer: &'a LayerName,
        /// How many bytes will be read.
        bytes: u64,
    },
    /// So many more have been read.
    Read {
        /// Which layer.
        layer: &'a LayerName,
        /// How many bytes since the last event.
        bytes: u64,
    },
    /// This layer is done.
    Done {
        /// Which layer.
        layer: &'a LayerName,
    },
}

/// Which layer of which manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerName {
    /// `os/arch[/variant]`, where the image has several manifests.
    pub platform: Option<String>,
    /// From 1.
    pub position: usize,
    /// How many layers the manifest has.
    pub of: usize,
    /// As the source's manifest names it.
    pub digest: Digest,
    /// Its size in bytes there.
    pub size: u64,
    /// Counted over all manifests, from 0: the same for all events of a layer.
    pub number: usize,
}
