
# Runs, latest:NAME and keys of --set: the program is asked for them.
_runner_with_words() {
    _runner "$@"
    local line="${COMP_LINE:0:COMP_POINT}"
    local word="${line##* }" kind=""
    if [[ $line =~ (--set|--set=)[[:space:]]*[^[:space:]]*$ ]]; then
        kind=keys
        word="${word#--set=}"
    elif [[ $word != -* && $line =~ [[:space:]](resume|evaluate|predict|explain|export|compare|report|list|show|rm|verify|slim)[[:space:]] ]]; then
        kind=runs
    fi
    if [[ -n $kind ]]; then
        local words
        words=$(compgen -W "$("${COMP_WORDS[0]}" words "$kind" 2>/dev/null)" -- "$word")
        # Bash takes a colon and an equals sign as the beginning of a new word.
        local prefix="${word%"${word##*[:=]}"}"
        if [[ -n $words || -n $prefix ]]; then
            COMPREPLY=()
            local found
            for found in $words; do
                COMPREPLY+=("${found#"$prefix"}")
            done
        fi
        [[ $kind == keys ]] && compopt -o nospace 2>/dev/null
    fi
    return 0
}
complete -F _runner_with_words -o bashdefault -o default runner
