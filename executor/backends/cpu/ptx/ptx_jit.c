// SPDX-License-Identifier: Apache-2.0
/*
 * From LLVM IR to machine code: passes and LLJIT, for the host's processor. In the executor at module load,
 * called by ptx_module.c; a verifier failure is an error of the load.
 */
#include "executor/backends/cpu/ptx/ptx_module.h"
#include "executor/backends/cpu/ptx/ptx_parse.h"

#include <errno.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct ptx_jit {
	LLVMOrcLLJITRef jit;
};

static struct {
	pthread_once_t once;
	char *triple, *cpu, *features;
	LLVMTargetRef target;
} host = { .once = PTHREAD_ONCE_INIT };

static void init_host(void)
{
	char *message = NULL;

	LLVMInitializeNativeTarget();
	LLVMInitializeNativeAsmPrinter();
	host.triple = LLVMGetDefaultTargetTriple();
	host.cpu = LLVMGetHostCPUName();
	host.features = LLVMGetHostCPUFeatures();
	if (LLVMGetTargetFromTriple(host.triple, &host.target, &message))
		host.target = NULL;
	LLVMDisposeMessage(message);
}

int ptx_jit_init(void)
{
	pthread_once(&host.once, init_host);
	return host.target ? 0 : -ENOSYS;
}

static LLVMTargetMachineRef new_target_machine(void)
{
	return LLVMCreateTargetMachine(host.target, host.triple, host.cpu, host.features,
				       LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelJITDefault);
}

static int fail(struct ptx_error *err, const char *what, LLVMErrorRef e)
{
	char *text = e ? LLVMGetErrorMessage(e) : NULL;

	ptx_error_set(err, 0, "", "%s: %.140s", what, text ? text : "unknown");
	if (text)
		LLVMDisposeErrorMessage(text);
	return -EINVAL;
}

int ptx_jit_verify(LLVMModuleRef mod, struct ptx_error *err)
{
	char *text = NULL;
	int rc = 0;

	if (LLVMVerifyModule(mod, LLVMReturnStatusAction, &text)) {
		ptx_error_set(err, 0, "", "inconsistent code: %.150s", text ? text : "");
		rc = -EINVAL;
	}
	LLVMDisposeMessage(text);
	return rc;
}

static int optimise(LLVMModuleRef mod, struct ptx_error *err)
{
	LLVMTargetMachineRef tm = new_target_machine();
	LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
	LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(tm);
	LLVMErrorRef e;

	LLVMSetModuleDataLayout(mod, layout);
	LLVMSetTarget(mod, host.triple);
	LLVMDisposeTargetData(layout);
	e = LLVMRunPasses(mod, "default<O2>", tm, options);
	LLVMDisposePassBuilderOptions(options);
	LLVMDisposeTargetMachine(tm);
	return e ? fail(err, "optimiser", e) : 0;
}

static LLVMErrorRef new_lljit(LLVMOrcLLJITRef *ret)
{
	LLVMOrcLLJITBuilderRef builder = LLVMOrcCreateLLJITBuilder();
	LLVMOrcDefinitionGeneratorRef gen = NULL;
	LLVMErrorRef e;

	LLVMOrcLLJITBuilderSetJITTargetMachineBuilder(
	    builder, LLVMOrcJITTargetMachineBuilderCreateFromTargetMachine(new_target_machine()));
	e = LLVMOrcCreateLLJIT(ret, builder);
	if (e)
		return e;
	// Only for calls that LLVM itself makes of operations (memset, floor and the like); kernels cannot
	// name symbols.
	e = LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&gen, LLVMOrcLLJITGetGlobalPrefix(*ret),
								 NULL, NULL);
	if (!e)
		LLVMOrcJITDylibAddGenerator(LLVMOrcLLJITGetMainJITDylib(*ret), gen);
	return e;
}

int ptx_jit_compile(LLVMModuleRef mod, LLVMOrcThreadSafeContextRef ts, struct ptx_jit **ret,
		    struct ptx_error *err)
{
	struct ptx_jit *j = calloc(1, sizeof(*j));
	LLVMOrcThreadSafeModuleRef tsm;
	LLVMErrorRef e;
	int rc = j ? ptx_jit_verify(mod, err) : -ENOMEM;

	if (!rc)
		rc = optimise(mod, err);
	if (rc) {
		LLVMDisposeModule(mod);
		free(j);
		return rc;
	}
	tsm = LLVMOrcCreateNewThreadSafeModule(mod, ts);
	e = new_lljit(&j->jit);
	if (!e) {
		e = LLVMOrcLLJITAddLLVMIRModule(j->jit, LLVMOrcLLJITGetMainJITDylib(j->jit), tsm);
	} else {
		LLVMOrcDisposeThreadSafeModule(tsm);
	}
	if (e) {
		rc = fail(err, "compiler", e);
		ptx_jit_free(j);
		return rc;
	}
	*ret = j;
	return 0;
}

void *ptx_jit_symbol(struct ptx_jit *j, const char *name)
{
	LLVMOrcExecutorAddress at = 0;
	LLVMErrorRef e = LLVMOrcLLJITLookup(j->jit, &at, name);

	if (e) {
		LLVMConsumeError(e);
		return NULL;
	}
	return (void *)(uintptr_t)at;
}

void ptx_jit_free(struct ptx_jit *j)
{
	if (!j)
		return;
	if (j->jit)
		LLVMConsumeError(LLVMOrcDisposeLLJIT(j->jit));
	free(j);
}
