//! The modules of a network as PyTorch nests them, also those without parameters: what selectors can name.

/// A module and the modules in it. One without members computes something itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) members: Vec<Member>,
    /// The length of a `torch.nn.Sequential`, which can be indexed; `None` for other modules.
    pub(crate) sequence: Option<usize>,
}

/// A module under the name that its parent gives it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Its index in a sequence: its name where names are numbers, else its place.
    pub(crate) index: usize,
    pub(crate) module: Module,
}

impl Module {
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let member = self.members.iter().find(|member| member.name == name)?;
        Some(&member.module)
    }

    /// The module at a path below this one, such as `layer4.1.conv2`; an empty path is this module.
    pub(crate) fn at(&self, path: &str) -> Option<&Self> {
        let mut names = path.split('.').filter(|name| !name.is_empty());
        names.try_fold(self, |module, name| module.get(name))
    }

    /// The module at `path`, made with every module above it where it does not exist yet.
    pub(super) fn make(&mut self, path: &str) -> &mut Self {
        let names = path.split('.').filter(|name| !name.is_empty());
        names.fold(self, |module, name| {
            let known = module.members.iter().position(|member| member.name == name);
            let place = known.unwrap_or_else(|| {
                module.members.push(Member {
                    name: name.to_owned(),
                    index: name.parse().unwrap_or(module.members.len()),
                    module: Self::default(),
                });
                module.members.len() - 1
            });
            &mut module.members[place].module
        })
    }
}
