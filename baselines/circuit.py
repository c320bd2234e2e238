"""Circuit modulation: add the emotion's difference vectors to the circuit's heads and neurons.

    z[l, heads of the circuit]   += strength · Δz[e, l]     at every position of every pass
    a[l, neurons of the circuit] += strength · Δa[e, l]     at the last position of every pass

Since o_proj and down_proj are linear, this is the same as adding the fixed vectors W_O Δz and W_down Δa to their
outputs, which is what is done here (method, stage 9). Source: Wang et al. (arXiv 2510.11328), section on circuit
modulation, strength 1 (0.8 for anger in the public code). Difference: the strength chosen on validation where the
artifact holds one.
"""

from emobench import Addition, Control, Sample, Setting, controller, neutral_messages, strength_field

PAPER_STRENGTH, PAPER_STRENGTH_ANGER = 1.0, 0.8


@controller
class Circuit:
    strength: float | None = strength_field(grid=(1, 2, 3, 4, 5, 6))

    def control(self, sample: Sample, setting: Setting) -> Control:
        paper = PAPER_STRENGTH_ANGER if sample.target == "anger" else PAPER_STRENGTH
        strength = setting.strength(self.strength, sample, otherwise=paper)
        attention = setting.artifact.vectors("applied.attn_out", sample.target)
        mlp = setting.artifact.vectors("applied.mlp_out", sample.target)
        edit = []
        for layer in range(setting.n_layers):
            edit.append(Addition("attn_out", layer, strength * attention[layer], positions="all"))
            edit.append(Addition("mlp_out", layer, strength * mlp[layer]))
        return Control(neutral_messages(sample), tuple(edit))
