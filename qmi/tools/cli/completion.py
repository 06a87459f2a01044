"""``qmi completion``: the script by which a shell completes the commands of ``qmi``."""

from __future__ import annotations

from argparse import Namespace

from qmi.tools.cli.errors import EXIT_OK
from qmi.tools.cli.options import CommandParser
from qmi.tools.cli.terminal import Terminal

DESCRIPTION = """
Print the script by which a shell completes commands, options, contexts, objects, methods, parameters and signals.
Its first lines say where it belongs.
"""

_BASH = r"""
# For this shell:     eval "$(qmi completion bash)"
# For every shell:    qmi completion bash > ~/.local/share/bash-completion/completions/qmi
#                     (needs the package bash-completion; else put the line above into ~/.bashrc)
_qmi() {
    local line program=${COMP_WORDS[0]/#\~/$HOME}
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == ":files" ]]; then
            COMPREPLY=()
            compopt -o default 2>/dev/null
            return
        fi
        COMPREPLY+=("${line%%$'\t'*}")
    done < <("$program" __complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *. ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _qmi qmi
"""

_ZSH = r"""
#compdef qmi
# For this shell:     eval "$(qmi completion zsh)"
# For every shell:    qmi completion zsh > ~/.zfunc/_qmi
#                     and in ~/.zshrc:  fpath+=~/.zfunc; autoload -Uz compinit; compinit
_qmi() {
    local line value
    local -a closed open
    for line in "${(@f)$("${(Q)words[1]/#\~/$HOME}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        if [[ $line == ":files" ]]; then
            _files
            return
        fi
        value=${line%%$'\t'*}
        if [[ $value == *. ]]; then
            open+=("$value")
        elif [[ $line == *$'\t'* ]]; then
            closed+=("${value//:/\\:}:${line#*$'\t'}")
        else
            closed+=("${value//:/\\:}")
        fi
    done
    (( ${#open} )) && compadd -S '' -a open
    (( ${#closed} )) && _describe -t qmi 'qmi' closed
}
if [[ ${funcstack[1]} == _qmi ]]; then
    _qmi "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef _qmi qmi
fi
"""

_FISH = r"""
# For this shell:     qmi completion fish | source
# For every shell:    qmi completion fish > ~/.config/fish/completions/qmi.fish
function __qmi_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (eval $words[1] __complete fish (string escape -- $words[2..-1] "$current") 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path (string replace -r -- '^--[^=]*=' '' "$current")
        else
            echo $line
        end
    end
end
complete -c qmi -f -a '(__qmi_complete)'
"""

SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}


def add_arguments(parser: CommandParser) -> None:
    """Add what the command takes."""
    parser.add_argument("shell", choices=list(SCRIPTS), help="which shell")


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Carry out the command; returns the exit code."""
    terminal.write(SCRIPTS[arguments.shell].strip())
    return EXIT_OK
