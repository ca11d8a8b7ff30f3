"""What runs inside a swarm's Pods: `userswarm bootstrap` before the runtime, `userswarm probe` in the smoke test.

Reading order: `bootstrap` (the story), `config_merge` (what the merged config.toml says), `toml_edit` (how it is
said in the text that is there), `folder` (how a file gets onto the volume), `probe` (the smoke test), `commands`.
Only the standard library and click are imported here: these commands start once for every Pod.
"""
