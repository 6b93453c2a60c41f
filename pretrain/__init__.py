"""How the embedded base, its example sets and the judge of its pictures were made. Independent of `lora_studio`."""
