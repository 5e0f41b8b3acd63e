// SPDX-License-Identifier: Apache-2.0
// The control socket: how an operator asks a running mediator, and changes what it does.
//
// A unix stream socket. Each request is one JSON object on one line, each answer is one line too, in order:
//
//   {"op": "tenant.set", "tenant": "blue", "weight": 200}           {"ok": true}
//   {"op": "tenant.set", "tenant": "blue", "weight": 0, "id": 7}
//     {"ok": false, "error": "value", "text": "weight: '0' is not 1 to 10000", "id": 7}
//
// "op" names the operation; "id" (a string or an integer) may be added to any request and comes back in its
// answer. All other fields are the operation's (vgpu-mediator --help-control lists them): an unknown, doubled
// or missing one is an error, and so is a value of another type or out of range; then nothing was changed. A
// request is at most VGPU_MAX_CONTROL_LINE bytes with VGPU_MAX_CONTROL_DEPTH objects or lists inside of one
// another; a longer line ends the connection after its answer. Sizes and times are numbers of bytes and
// nanoseconds or strings with units ("4G", "8ms"), parts of the GPU are percent.
//
// Who may connect: root, the mediator's own user, members of control.group; others are told "permission" and
// closed.
#ifndef VGPU_PROTOCOL_CONTROL_CONTROL_H
#define VGPU_PROTOCOL_CONTROL_CONTROL_H

#define CONTROL_SOCKET_NAME "control.sock" // in paths.run_directory

// "error" of an answer that is not ok.
#define CONTROL_E_JSON	     "json"	 // not a line with one JSON object
#define CONTROL_E_OPERATION  "operation" // there is no such operation
#define CONTROL_E_FIELD	     "field"	 // unknown or missing field
#define CONTROL_E_VALUE	     "value"	 // wrong type or out of range
#define CONTROL_E_UNKNOWN    "unknown"	 // no pool, tenant or profile of that name
#define CONTROL_E_STATE	     "state"	 // exists already, is in use, shares do not fit
#define CONTROL_E_GPU	     "gpu" // the pool is on another GPU than this mediator's, or ours is not known yet
#define CONTROL_E_LIMIT	     "limit"	  // too many pools, connections, requests a second, bytes in a line
#define CONTROL_E_PERMISSION "permission" // this user may not
#define CONTROL_E_INTERNAL   "internal"

#endif
