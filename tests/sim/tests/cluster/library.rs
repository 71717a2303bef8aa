//! Every version of every film that ever was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::film::{Film, Spec};

/// The films of a run. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Library(Arc<Mutex<BTreeMap<u16, Vec<Arc<Film>>>>>);

impl Library {
    /// Makes the next version of a film.
    pub(crate) fn publish(&self, spec: &Spec) -> Arc<Film> {
        let mut films = self.0.lock().unwrap();
        let versions = films.entry(spec.id).or_default();
        let film = Film::make(spec, versions.len() as u16 + 1);
        versions.push(film.clone());
        film
    }

    /// All versions of the film of this id, oldest first.
    pub(crate) fn versions(&self, id: u16) -> Vec<Arc<Film>> {
        self.0.lock().unwrap().get(&id).cloned().unwrap_or_default()
    }

    /// The newest version of the film at this place of the plan.
    pub(crate) fn newest(&self, film: usize) -> Arc<Film> {
        self.versions(film as u16 + 1).last().unwrap().clone()
    }
}
