// SPDX-License-Identifier: Apache-2.0
// A capture as capture.c keeps it and capture_calls.c sees it, all under vc_graph_lock. Runs in the guest
// program.
#ifndef VGPU_LIBCUDA_CAPTURE_H
#define VGPU_LIBCUDA_CAPTURE_H

#include "guest/libcuda/graph.h"

struct vc_capture {
	uint64_t id;
	struct vc_graph *graph;
	uint64_t graph_handle;
	int own_graph; // made by cuStreamBeginCapture
	struct vc_stream *origin;
	const struct vc_thread *thread;
	CUstreamCaptureMode mode;
	int invalid;
	TAILQ_HEAD(, vc_stream_capture) streams;
	LIST_ENTRY(vc_capture) next;
};

struct vc_stream_capture {
	TAILQ_ENTRY(vc_stream_capture) next;
	struct vc_capture *capture;
	struct vc_stream *stream;
	struct vc_edges behind; // what the next node stands behind
	CUgraphNode *nodes;	// what cuStreamGetCaptureInfo handed out
	CUgraphEdgeData *data;
};

// The capture that the stream has part in; NULL: none.
struct vc_capture *vc_capture_of(const struct vc_stream *s);
// Begins one into g, which becomes the capture's if own. CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
// ILLEGAL_STATE, OUT_OF_MEMORY; g stays the caller's then.
CUresult vc_capture_begin(struct vc_stream *s, struct vc_graph *g, int own, const struct vc_edges *behind,
			  CUstreamCaptureMode mode);
// Nothing can be captured any more, the end will say so.
void vc_capture_invalidate(struct vc_capture *c);
void vc_capture_free(struct vc_capture *c); // the graph stays

#endif
