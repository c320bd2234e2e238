"""Steering: push the residual stream along the emotion's direction in the middle layers.

    resid_post[l] += strength · v[e, l] · rms(resid_post[l])     at the last position of every pass, layers 11-20 of 28

with v the unit direction of emotion e at resid_post (method, stage 10). Source: the steering baseline of Wang et al.
(arXiv 2510.11328), whose strength is 8. Difference: for another depth the same fractions of the layers, rounded, and
the strength chosen on validation where the artifact holds one.
"""

from emobench import Addition, Control, Sample, Setting, controller, neutral_messages, strength_field

FIRST, LAST, DEPTH = 11, 20, 28
PAPER_STRENGTH = 8.0


@controller
class Steering:
    strength: float | None = strength_field(grid=(1, 2, 3, 4, 6, 8))

    def control(self, sample: Sample, setting: Setting) -> Control:
        strength = setting.strength(self.strength, sample, otherwise=PAPER_STRENGTH)
        direction = setting.artifact.vectors("direction.resid_post", sample.target)
        first, last = (round(layer / DEPTH * setting.n_layers) for layer in (FIRST, LAST))
        edit = tuple(
            Addition("resid_post", layer, strength * direction[layer], relative=True)
            for layer in range(first, last + 1)
        )
        return Control(neutral_messages(sample), edit)
