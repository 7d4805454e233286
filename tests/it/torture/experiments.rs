//! The experiments that are tortured.

pub(super) struct Experiment {
    pub(super) name: &'static str,
    /// Tables behind `SMALL`.
    pub(super) more: &'static str,
    /// Overrides of what `SMALL` says.
    pub(super) sets: &'static [&'static str],
    /// Whether it stops by itself until its learning rate is lowered.
    pub(super) stops: bool,
}

pub(super) const fn experiment(
    name: &'static str,
    more: &'static str,
    sets: &'static [&'static str],
) -> Experiment {
    Experiment {
        name,
        more,
        sets,
        stops: false,
    }
}

/// Every part of training that has a memory. In many a checkpoint is written after each step, so that kills fall into it; in
/// others rarely, so that what is newer than the checkpoint counts.
pub(super) const EXPERIMENTS: [Experiment; 13] = [
    experiment(
        "dropout, cosine with warm-up, accumulation",
        "[schedule]\nkind = \"cosine\"\nwarmup_epochs = 0.5\n[training]\naccumulate = 2\ncheckpoint_every = \"1 step\"\n",
        &[],
    ),
    experiment(
        "augmentation, steps, early stopping, label smoothing, no cache",
        "[schedule]\nkind = \"step\"\nstep_epochs = 1\ngamma = 0.5\n[augment]\nhorizontal_flip = 0.5\ncrop_scale = [0.3, 1.0]\n\
         [early_stopping]\npatience = 1\n[cache]\nmode = \"off\"\n\
         [training]\nlabel_smoothing = 0.1\nmetric = \"valid_loss\"\ncheckpoint_every = \"1 step\"\n",
        &[],
    ),
    experiment(
        "sgd with momentum, clipping, variants that are cached, a rare checkpoint",
        "[optimizer]\nkind = \"sgd\"\nmomentum = 0.9\nlr = 0.01\n[augment]\nhorizontal_flip = 0.5\nvariants = 2\n\
         [training]\nclip_grad_norm = 1.0\ncheckpoint_every = \"3 steps\"\n",
        &[],
    ),
    experiment(
        "rmsprop, a checkpoint by epoch",
        "[optimizer]\nkind = \"rmsprop\"\nlr = 1e-4\n[training]\ncheckpoint_every = \"1 epoch\"\n",
        &[],
    ),
    experiment(
        "adamw by loss, no checkpoint inside a phase",
        "[optimizer]\nkind = \"adamw\"\nweight_decay = 0.05\n[training]\nmetric = \"valid_loss\"\ncheckpoint_every = \"50 epochs\"\n",
        &["phase.features24.epochs=6", "phase.features24.lr=1e-3"],
    ),
    experiment(
        "a test part, one optimizer for both phases",
        "[training]\ncheckpoint_every = \"5 steps\"\n",
        &["split.test=0.25", "phase.features24.keep_optimizer=true"],
    ),
    experiment(
        "everything trains, so there is no base",
        "[training]\ncheckpoint_every = \"2 steps\"\n",
        &["phase.head.trainable=[\"all\"]", "phase.head.lr=1e-4"],
    ),
    experiment(
        "the last layer alone, half precision in the cache",
        "[cache]\nprecision = \"f16\"\n[training]\nmetric = \"valid_loss\"\ncheckpoint_every = \"2 epochs\"\n",
        &["phase.head.trainable=[\"classifier[6]\"]"],
    ),
    experiment(
        "learning rates by depth, early stopping by accuracy",
        "[early_stopping]\npatience = 2\n[training]\ncheckpoint_every = \"4 steps\"\n",
        &["phase.features24.epochs=5"],
    ),
    experiment(
        "only the best model is kept, held for several epochs",
        "[checkpoints]\nkeep = \"best\"\n[training]\nmetric = \"valid_loss\"\ncheckpoint_every = \"3 epochs\"\n",
        &["phase.features24.epochs=6"],
    ),
    experiment(
        "only the best model is kept, a checkpoint by step, early stopping",
        "[checkpoints]\nkeep = \"best\"\n[early_stopping]\npatience = 2\n[training]\ncheckpoint_every = \"1 step\"\n",
        &[],
    ),
    Experiment {
        name: "a learning rate that is too high, stopped",
        more: "[training]\nmetric = \"valid_loss\"\ncheckpoint_every = \"50 epochs\"\n",
        sets: &["phase.features24.lr=1e25"],
        stops: true,
    },
    Experiment {
        name: "the same with a checkpoint by step",
        more: "[training]\ncheckpoint_every = \"1 step\"\n",
        sets: &["phase.features24.lr=1e25"],
        stops: true,
    },
];
