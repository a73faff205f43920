//! Writing a journal anew from what was found on the drives.
//!
//! A store is no journal before the record of its format is there, which comes last: cut short, it is begun again.

use crate::digest::Crc32;
use crate::ids::{Epoch, Lsn, NodeId, PerSide, Side};
use crate::journal::codec::{self, Fact};
use crate::journal::draft::Draft;
use crate::journal::record::{Blocks, Debt, Enrolment, Node, PAGE_BLOCKS, Place};
use crate::journal::recovery::apply;
use crate::journal::store::{Store, StoreError};
use crate::journal::trash::Kept;
use crate::journal::writer::Writer;
use crate::namespace::Namespace;

/// Nodes between two barriers.
const NODES_PER_BARRIER: u64 = 10_000;

/// Fills an empty store.
#[derive(Debug)]
pub struct Importer<'a> {
    store: &'a dyn Store,
    nodes: u64,
}

/// What a rebuilt journal begins with.
#[derive(Debug)]
pub struct Beginning {
    pub enrolment: Enrolment,
    /// At least the highest that any drive has seen.
    pub epoch: Epoch,
    pub head: Lsn,
    pub next_node: NodeId,
    /// The serials of the labels that the drives have.
    pub serials: PerSide<Option<u64>>,
    /// What the drives ask of names.
    pub namespaces: PerSide<Namespace>,
    /// Drives that were not seen: what they have is unknown.
    pub waived: PerSide<bool>,
}

impl<'a> Importer<'a> {
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, nodes: 0 }
    }

    /// Remembers what a file in the trash was.
    pub fn kept(&mut self, kept: &Kept) -> Result<(), StoreError> {
        let mut draft = Draft::new(self.store);
        draft.add_kept(kept, None);
        self.write(draft)
    }

    /// Adds a node of the catalog with the digests of its blocks and what each drive owes for it.
    pub fn node(
        &mut self,
        place: &Place,
        node: &Node,
        blocks: &[Crc32],
        debts: &PerSide<Option<Debt>>,
    ) -> Result<(), StoreError> {
        let mut draft = Draft::new(self.store);
        match node {
            Node::Folder(folder) => draft.set(codec::folder(folder.id), place),
            Node::File(file) => {
                if let Blocks::Paged(_) = file.blocks {
                    for (number, blocks) in blocks.chunks(PAGE_BLOCKS).enumerate() {
                        draft.set(codec::page(file.version.ticket, number as u32), &blocks);
                    }
                }
            }
        }
        draft.set(codec::node(place), node);
        self.owe(draft, node.id(), debts)
    }

    /// Adds what drives still have of a node that was removed.
    pub fn removed(&mut self, id: NodeId, debts: &PerSide<Option<Debt>>) -> Result<(), StoreError> {
        self.owe(Draft::new(self.store), id, debts)
    }

    fn owe(&mut self, mut draft: Draft<'_>, id: NodeId, debts: &PerSide<Option<Debt>>) -> Result<(), StoreError> {
        for (side, debt) in debts.iter() {
            draft.set_debt(side, id, None, debt.as_ref());
        }
        self.write(draft)
    }

    fn write(&mut self, mut draft: Draft<'_>) -> Result<(), StoreError> {
        draft.end_facts();
        draft.publish.iter().try_for_each(|op| apply(self.store, op))?;
        self.nodes += 1;
        if self.nodes.is_multiple_of(NODES_PER_BARRIER) { self.store.barrier() } else { Ok(()) }
    }

    /// Ends: from here on the store is a journal.
    pub fn end(self, beginning: &Beginning) -> Result<(), StoreError> {
        let store = self.store;
        let facts = [
            (Fact::Epoch, codec::encode(&beginning.epoch)),
            (Fact::Applied, codec::encode(&beginning.head)),
            (Fact::NextNode, codec::encode(&beginning.next_node)),
        ];
        for (fact, value) in facts {
            store.insert(&codec::meta(fact), &value)?;
        }
        for side in Side::BOTH {
            if let Some(serial) = beginning.serials.get(side) {
                store.insert(&codec::label(side), &codec::encode(serial))?;
            }
            if *beginning.waived.get(side) {
                store.insert(&codec::waived(side), &codec::encode(&()))?;
            }
        }
        Writer::note_names(store, beginning.namespaces)?;
        store.barrier()?;
        Writer::create(store, &beginning.enrolment)
    }
}
