"""What runs inside a swarm's Pods: `userswarm bootstrap` before the runtime, `userswarm probe` in the smoke test.

Reading order: `bootstrap` (the story), `config_merge` (what the merged config.toml says), `toml_edit` (how it is
said in the text that is there), `folder` (how a file gets onto the volume), `probe` (the smoke test), `commands`.
Next to nothing but the standard library and click is imported here, tomlkit only where a text has to change: these
commands start once for every Pod.
"""
