"""Completion of the command `xrd-jax` in bash and zsh: flags, the values there are, and files.

eval "$(python -m xrd_jax.completion)"        in ~/.bashrc
autoload -U +X bashcompinit && bashcompinit   in ~/.zshrc, before the same line
"""

from absl import flags

from xrd_jax import cli
from xrd_jax.commands.help import flags_of_command

PATHS = ("data", "data_root", "json", "out", "cif", "workdir")  # flags whose values are files or folders
# bash makes three words of --flag=value, zsh one, which its replies must repeat.
SCRIPT = """_xrd_jax() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" flag="" kept=""
  if [[ "$word" == --*=* ]]; then
    flag="${{word%%=*}}" kept="${{word%%=*}}=" word="${{word#*=}}"
  elif [[ "$word" == "=" ]]; then
    flag="${{COMP_WORDS[COMP_CWORD-1]}}" word=""
  elif [[ "${{COMP_WORDS[COMP_CWORD-1]}}" == "=" ]]; then
    flag="${{COMP_WORDS[COMP_CWORD-2]}}"
  fi
  local IFS=$'\\n' replies=() reply
  case "$flag" in
{values}
    {paths}) replies=($(compgen -f -- "$word"));;
    "") replies=($(compgen -W "{flags}" -- "$word"));;
  esac
  COMPREPLY=()
  for reply in "${{replies[@]}}"; do COMPREPLY+=("$kept$reply"); done
}}
complete -o nospace -F _xrd_jax xrd-jax
"""


def bash_script(values: flags.FlagValues) -> str:
    """Return the shell function that completes the flags of the command line."""
    names, lines = [], []
    for name in sorted(flags_of_command(values)):
        flag = values[name]
        names += [f"--{name}", f"--no{name}"] if flag.boolean else [f"--{name}="]
        if isinstance(flag, flags.EnumFlag):
            choices = "\n".join(flag.parser.enum_values)
            lines.append(f'    --{name}) replies=($(compgen -W "{choices}" -- "$word"));;')
    paths = "|".join(f"--{name}" for name in PATHS)
    return SCRIPT.format(values="\n".join(lines), paths=paths, flags="\n".join(names))


if __name__ == "__main__":
    print(bash_script(cli.FLAGS), end="")
