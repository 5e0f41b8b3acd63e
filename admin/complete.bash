# SPDX-License-Identifier: Apache-2.0
# bash completion of vgpu-admin. The functions with the table's words, which this calls, are put above it by the build.

# Words for a kind of value; $1: the kind, $2: what the argument before was.
_vgpu_admin_words() {
	case $1 in
	names:*) "$_vgpu_admin_program" "${_vgpu_admin_target[@]}" --names "${1#names:}" 2>/dev/null ;;
	of-kind) "$_vgpu_admin_program" "${_vgpu_admin_target[@]}" --names "$2" 2>/dev/null ;;
	words:*) echo "${1#words:}" ;;
	esac
}

# Sets reply from a kind of value and what was typed of it.
_vgpu_admin_reply() {
	local kind=$1 typed=$2 before=$3
	case $kind in
	file)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$typed")
		;;
	items:*)
		if [[ $typed == *=* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_vgpu_admin_item "${typed%%=*}")" -- "${typed#*=}")
		else
			compopt -o nospace 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -W "${kind#items:}" -- "$typed")
		fi
		;;
	?*) mapfile -t COMPREPLY < <(compgen -W "$(_vgpu_admin_words "$kind" "$before")" -- "$typed") ;;
	esac
}

# Values of an item that are words.
_vgpu_admin_item() {
	local kind
	kind=$(_vgpu_admin_item_values "$1")
	[[ -z $kind ]] || _vgpu_admin_words "$kind"
}

_vgpu_admin() {
	local -a all=() _vgpu_admin_target=()
	local _vgpu_admin_program=${COMP_WORDS[0]} i glue='' word cur command='' action='' pending='' before='' place=0 kind
	COMPREPLY=()

	# readline divides words at '='.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ $word == = && ${#all[@]} -gt 1 ]]; then
			all[-1]+='='
			glue=1
		elif [[ $glue ]]; then
			all[-1]+=$word
			glue=
		else
			all+=("$word")
		fi
	done
	cur=${all[-1]}

	for ((i = 1; i < ${#all[@]} - 1; i++)); do
		word=${all[i]}
		if [[ $pending ]]; then
			_vgpu_admin_target_add "$pending" "$word"
			pending=
		elif [[ $word == --*=* ]]; then
			_vgpu_admin_target_add "${word%%=*}" "${word#*=}"
		elif [[ $word == -* ]]; then
			[[ -z $(_vgpu_admin_value "$command $action" "$word") ]] || pending=$word
		elif [[ -z $command ]]; then
			command=$word
		elif [[ -z $action && $(_vgpu_admin_actions "$command") ]]; then
			action=$word
		else
			before=$word
			place=$((place + 1))
		fi
	done

	if [[ $pending ]]; then
		_vgpu_admin_reply "$(_vgpu_admin_value "$command $action" "$pending")" "$cur" ''
	elif [[ $cur == --*=* ]]; then
		_vgpu_admin_reply "$(_vgpu_admin_value "$command $action" "${cur%%=*}")" "${cur#*=}" ''
	elif [[ $cur == -* ]]; then
		compopt -o nospace 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -W "$(_vgpu_admin_options "$command $action")" -- "$cur")
		for i in "${!COMPREPLY[@]}"; do
			[[ ${COMPREPLY[i]} == *= ]] || COMPREPLY[i]+=' '
		done
	elif [[ -z $command ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_vgpu_admin_commands)" -- "$cur")
	elif [[ -z $action && $(_vgpu_admin_actions "$command") ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_vgpu_admin_actions "$command")" -- "$cur")
	else
		kind=$(_vgpu_admin_argument "$command $action" "$place")
		_vgpu_admin_reply "$kind" "$cur" "$before"
	fi
}

_vgpu_admin_target_add() {
	case $1 in
	--socket | --url | --token-file | --ca-file) _vgpu_admin_target+=("$1=$2") ;;
	esac
}

complete -F _vgpu_admin vgpu-admin
