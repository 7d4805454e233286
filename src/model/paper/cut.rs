//! Where a network can be cut in two: after a step whose output is all that later steps read. The frozen prefix of a phase ends at a
//! cut, and has a name that is part of the key of its cached activations.

use super::{Module, Op, Paper, Step, is_in};

impl Paper {
    /// Whether value `n_steps` is all that the steps from there on read of what is before them.
    pub(crate) fn is_cut(&self, n_steps: usize) -> bool {
        let mut rest = self.steps[n_steps..].iter();
        rest.all(|step| step.inputs.iter().all(|value| *value >= n_steps))
    }

    /// The last cut at or before `step`, as a number of steps.
    pub(crate) fn cut_before(&self, step: usize) -> usize {
        let mut cuts = (0..=step).rev();
        cuts.find(|n_steps| self.is_cut(*n_steps)).unwrap_or(0)
    }

    /// The steps that a frozen network runs on its own kernels: all before the first fully connected layer or the head.
    pub(crate) fn backbone(&self) -> usize {
        let head = self.head().path;
        let mut steps = self.steps.iter();
        let first = steps.position(|step| step.op == Op::Linear || step.module == head);
        self.cut_before(first.unwrap_or(self.steps.len()))
    }

    /// The last value with rows and columns in front of the head and of the pooling before it, as a number of steps: the deepest map
    /// of the network whose places still correspond to places of the image.
    pub(crate) fn last_map(&self) -> usize {
        let steps = self.steps[..self.backbone()].iter().enumerate().rev();
        let mut maps = steps.filter(|(_, step)| {
            !matches!(
                step.op,
                Op::Dropout | Op::MaxPool(_) | Op::AdaptivePool { .. }
            )
        });
        let last = maps.find(|(index, step)| step.shape.len() == 3 && self.is_cut(index + 1));
        last.map_or(0, |(index, _)| index + 1)
    }

    /// The name of the first `n_steps` steps in PyTorch's words: `features[:24]`, `features and pooling`, `conv1 to layer4[:1]`.
    ///
    /// No two cuts of a network have the same name. It is part of the keys of cached activations, so it must never change.
    pub(crate) fn prefix_name(&self, n_steps: usize) -> String {
        let mut tops: Vec<&str> = self.steps[..n_steps].iter().map(top_of).collect();
        tops.dedup();
        let Some((top, before)) = tops.split_last() else {
            return self.empty_prefix_name();
        };
        let last = self.part_name(top, n_steps);
        match before {
            [] => last,
            [first, _, _, ..] => format!("{} to {last}", word(first)),
            [..] => {
                let before: Vec<String> = before.iter().map(|top| word(top)).collect();
                format!("{} and {last}", before.join(", "))
            }
        }
    }

    /// The name of no steps at all.
    fn empty_prefix_name(&self) -> String {
        let top = top_of(&self.steps[0]);
        let module = self.root.get(top);
        if module.is_some_and(|module| module.sequence.is_some()) {
            format!("{top}[:0]")
        } else {
            "nothing".to_owned()
        }
    }

    /// The name of what the first `n_steps` steps have of a top-level module, the last one that they reach.
    fn part_name(&self, top: &str, n_steps: usize) -> String {
        let rest = &self.steps[n_steps..];
        let begins_in = |step: &Step, path: &str| is_in(&step.module, path);
        if !rest.iter().any(|step| begins_in(step, top)) {
            return word(top);
        }
        let next = &rest[0];
        if let Some(Module {
            members,
            sequence: Some(_),
        }) = self.root.get(top)
        {
            // The sequence is cut in front of one of its members, if nothing of that member is before the cut.
            let cut = members
                .iter()
                .find(|member| begins_in(next, &format!("{top}.{}", member.name)));
            if let Some(member) = cut {
                let path = format!("{top}.{}", member.name);
                let before = &self.steps[..n_steps];
                if !before.iter().any(|step| begins_in(step, &path)) {
                    return format!("{top}[:{}]", member.index);
                }
            }
        }
        let last = &self.steps[n_steps - 1];
        let module = self.root.at(&last.module);
        if module.is_some_and(|module| module.members.is_empty()) {
            format!("{top} up to {}", last.module)
        } else {
            format!("{top} up to the {} of {}", last.op.name(), last.module)
        }
    }
}

/// The top-level module that a step is in.
fn top_of(step: &Step) -> &str {
    let mut names = step.module.split('.');
    names.next().unwrap_or_default()
}

/// How a prefix is named after a top-level module that it has the whole of.
fn word(module: &str) -> String {
    // Named so since before networks other than VGG; the name is part of cache keys.
    if module == "avgpool" {
        "pooling".to_owned()
    } else {
        module.to_owned()
    }
}
