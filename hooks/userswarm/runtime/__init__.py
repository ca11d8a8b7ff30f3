"""What runs inside a swarm's Pods before its containers: `userswarm bootstrap`, and the steps of a template.

Reading order: `bootstrap` (the story), `config_merge` (what the merged config.toml says), `toml_edit` (how it is
said in the text that is there), `folder` (how a file gets onto the volume), `steps/` (git and ssh), `commands`.
Next to nothing but the standard library and click is imported here, tomlkit only where a text has to change: these
commands start once for every Pod.
"""
