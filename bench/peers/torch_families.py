"""Training steps of transformers' models: what `plinth bench model` measures, in PyTorch.

    torch_worker.py eager model '{"directory": DIR, "batch": 8, "seq": 128}' cpu float32

Models have the config.json of DIR, random weights, and transformers' default attention. The step is forward,
loss, backward and AdamW, fused, with decay on matrices only.
"""

import torch
import transformers

IGNORED = -100


def random_ids(*shape, most):
    return torch.randint(most, shape)


def causal(config, batch, seq):
    ids = random_ids(batch, seq, most=config.vocab_size)
    return {"input_ids": ids, "labels": ids}


def masked(config, batch, seq):
    targets = random_ids(batch, seq, most=config.vocab_size)
    targets[torch.rand(batch, seq) >= 0.15] = IGNORED
    return {"input_ids": random_ids(batch, seq, most=config.vocab_size), "labels": targets}


def image(config, batch, seq):
    pixels = torch.randn(batch, config.num_channels, config.image_size, config.image_size)
    return {"pixel_values": pixels, "labels": random_ids(batch, most=config.num_labels)}


def translation(config, batch, seq):
    return {name: random_ids(batch, seq, most=config.vocab_size) for name in ("input_ids", "labels")}


def sound(config, batch, seq):
    features = torch.randn(batch, config.num_mel_bins, 2 * config.max_source_positions)
    return {"input_features": features, "labels": random_ids(batch, seq, most=config.vocab_size)}


def pairs(config, batch, seq):
    vision, text = config.vision_config, config.text_config
    ids = random_ids(batch, seq, most=text.vocab_size)
    ids[:, -1] = text.eos_token_id
    pixels = torch.randn(batch, vision.num_channels, vision.image_size, vision.image_size)
    return {"pixel_values": pixels, "input_ids": ids, "return_loss": True}


# By model_type: transformers' class, and what draws its inputs.
FAMILIES = {
    "gpt2": (transformers.GPT2LMHeadModel, causal),
    "llama": (transformers.LlamaForCausalLM, causal),
    "bert": (transformers.BertForMaskedLM, masked),
    "vit": (transformers.ViTForImageClassification, image),
    "whisper": (transformers.WhisperForConditionalGeneration, sound),
    "t5": (transformers.T5ForConditionalGeneration, translation),
    "clip": (transformers.CLIPModel, pairs),
}


class TrainingStep:
    def __init__(self, directory, batch, seq):
        self.config = transformers.AutoConfig.from_pretrained(directory)
        model, self.inputs = FAMILIES[self.config.model_type]
        self.sizes = batch, seq
        self.model = model(self.config).train()
        parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95), fused=True)
        self.prepare()

    def prepare(self):
        self.batch = self.inputs(self.config, *self.sizes)

    def run(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model(**self.batch).loss
        loss.backward()
        self.optimizer.step()
        return loss.item()
