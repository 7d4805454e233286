//! Finds images whose label is perhaps wrong, from the probabilities of a model that was not trained on them. Pure.

/// For each image, the class that it more likely belongs to than to its label; `None` if the label is plausible. Each image is
/// given with its label and the probabilities of all classes.
///
/// The rule is that of confident learning. The threshold of a class is the mean of its probability over the images with that
/// label. An image counts for the most probable of the classes whose threshold it reaches; if this is not its label, the label is
/// perhaps wrong. Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, 2021, equation 2.
pub(crate) fn suspects<'a>(
    images: impl Iterator<Item = (usize, &'a [f64])> + Clone,
    n_classes: usize,
) -> Vec<Option<usize>> {
    let mut sums = vec![(0.0_f64, 0_usize); n_classes];
    for (label, probabilities) in images.clone() {
        if let (Some(sum), Some(of_label)) = (sums.get_mut(label), probabilities.get(label)) {
            sum.0 += of_label;
            sum.1 += 1;
        }
    }
    // A class without images has no threshold, and nothing counts for it.
    let thresholds = sums.iter().map(|(sum, n)| match n {
        0 => f64::INFINITY,
        n => sum / *n as f64,
    });
    let thresholds: Vec<f64> = thresholds.collect();
    images
        .map(|(label, probabilities)| {
            let reached = probabilities.iter().zip(&thresholds).enumerate();
            let reached = reached.filter(|(_, (probability, threshold))| probability >= threshold);
            let likely = reached.max_by(|a, b| a.1.0.total_cmp(b.1.0));
            likely
                .map(|(class, _)| class)
                .filter(|class| *class != label)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(images: &[(usize, &[f64])], expected: &[Option<usize>]) {
        let n_classes = images.first().map_or(0, |image| image.1.len());
        assert_eq!(suspects(images.iter().copied(), n_classes), expected);
    }

    #[test]
    fn an_image_is_suspect_that_is_surely_of_another_class() {
        let images: [(usize, &[f64]); 6] = [
            (0, &[0.9, 0.1]),
            (0, &[0.8, 0.2]),
            // Surer of the other class than the images of that class are on average.
            (0, &[0.05, 0.95]),
            // Wrong, but not surer than that: the model may be at fault.
            (0, &[0.4, 0.6]),
            (1, &[0.1, 0.9]),
            (1, &[0.3, 0.7]),
        ];
        check(&images, &[None, None, Some(1), None, None, None]);
    }

    #[test]
    fn classes_without_images_and_tables_without_probabilities_make_no_suspects() {
        check(&[(0, &[0.1, 0.9]), (0, &[0.9, 0.1])], &[None, None]);
        check(&[(0, &[]), (1, &[])], &[None, None]);
        check(&[], &[]);
    }
}
