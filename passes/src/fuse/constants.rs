//! Constant data of the e-graph: equal data is one constant, wherever it comes from.

use mcunet_ir::attr::ResourceRef;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Module, Tensor, TensorType};
use std::collections::HashMap;
use std::sync::Arc;

/// Constant data of a [`Constants`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConstantId(u32);

#[derive(Clone, Debug)]
enum Entry {
    /// The module has it; the bytes are absent in a dump without weights.
    Old(ResourceRef, Option<Arc<[u8]>>),
    /// A rule computed it.
    New { name: String, element: Scalar, bytes: Arc<[u8]> },
}

/// All constant data.
#[derive(Clone, Debug, Default)]
pub struct Constants {
    entries: Vec<Entry>,
    by_content: HashMap<(Scalar, Arc<[u8]>), ConstantId>,
    by_name: HashMap<Arc<str>, ConstantId>,
}

impl Constants {
    fn push(&mut self, entry: Entry) -> ConstantId {
        let id = ConstantId(self.entries.len() as u32);
        self.entries.push(entry);
        id
    }

    /// A resource of the module.
    pub fn resource(&mut self, module: &Module, reference: &ResourceRef) -> ConstantId {
        if let Some(&id) = self.by_name.get(&reference.name) {
            return id;
        }
        let bytes = module.bytes(reference).cloned();
        let key = bytes.clone().map(|bytes| (reference.element, bytes));
        let known = key.as_ref().and_then(|key| self.by_content.get(key)).copied();
        let id = known.unwrap_or_else(|| self.push(Entry::Old(reference.clone(), bytes)));
        self.by_name.insert(reference.name.clone(), id);
        if let Some(key) = key {
            self.by_content.insert(key, id);
        }
        id
    }

    /// What a rule computed; `name` is a proposal for new data.
    pub fn add(&mut self, name: &str, tensor: &Tensor) -> ConstantId {
        let (element, bytes) = (tensor.ty.storage(), Arc::<[u8]>::from(tensor.data.to_bytes()));
        if let Some(&id) = self.by_content.get(&(element, bytes.clone())) {
            return id;
        }
        let id = self.push(Entry::New { name: name.to_owned(), element, bytes: bytes.clone() });
        self.by_content.insert((element, bytes), id);
        id
    }

    /// The data as a tensor of a type; `None` if it is absent.
    pub fn tensor(&self, id: ConstantId, ty: &TensorType) -> Option<Tensor> {
        let bytes = match self.entries.get(id.0 as usize)? {
            Entry::Old(_, bytes) => bytes.as_ref()?,
            Entry::New { bytes, .. } => bytes,
        };
        Tensor::from_bytes(ty.clone(), bytes).ok()
    }

    /// The module's name for the data, which gets it if it is new.
    pub fn into_module(&self, id: ConstantId, module: &mut Module) -> Option<ResourceRef> {
        match self.entries.get(id.0 as usize)? {
            Entry::Old(reference, _) => Some(reference.clone()),
            Entry::New { name, element, bytes } => Some(module.add_resource(name, *element, bytes.to_vec())),
        }
    }
}
