"""Numba as a front end: it types and lowers; LLVM then sees each kernel once and whole.

Left alone, numba optimises and loads every inline function for its own sake before its callers take
it in, and runs passes for what kernels do not hold: half of the time that compiling took.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import llvmlite.binding as llvm
from numba.core import typed_passes, untyped_passes
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.compiler import CompilerBase, DefaultPassBuilder

NOT_NEEDED = frozenset(
    {
        untyped_passes.FindLiterallyCalls,
        untyped_passes.InlineClosureLikes,
        untyped_passes.InlineInlinables,
        untyped_passes.LiteralPropagationSubPipelinePass,
        untyped_passes.LiteralUnroll,
        untyped_passes.MakeFunctionToJitFunction,
        untyped_passes.RewriteDynamicRaises,
        untyped_passes.WithLifting,
        typed_passes.DumpParforDiagnostics,
        typed_passes.InlineOverloads,
        typed_passes.NopythonRewrites,
    }
)
"""Passes for closures, arrays and exceptions, of which kernels have none."""


class Part(JITCodeLibrary):
    """One function as it was lowered, and the parts that it calls; never loaded."""

    def finalize(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:  # noqa: ARG002
        return 0

    def whole(self) -> llvm.ModuleRef:
        """The function and all that it calls, optimised."""
        module, parts = self._final_module, [self]
        for part in parts:  # which grow: parts have parts
            parts += [one for one in dict.fromkeys(part._linking_libraries) if one not in parts]
        for part in parts[1:]:
            module.link_in(part._get_module_for_linking(), preserve=True)
        module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.slp_vectorization = False
        passes = llvm.create_pass_builder(self._codegen._tm, options)
        passes.getModulePassManager().run(module, passes)
        return module

    def object_code(self) -> bytes:
        """What the whole function is compiled to."""
        code: bytes = self._codegen._tm.emit_object(self.whole())
        return code


class PartsCodegen(JITCPUCodegen):
    """Makes parts, for the CPU that numba was told."""

    _library_class = Part

    def set_env(self, env_name: str, env: Any) -> None:
        """Parts hold no Python objects."""


@cache
def _codegen() -> PartsCodegen:
    return PartsCodegen("qrt.kernels")


class Frontend(CompilerBase):
    """Numba's passes up to parts."""

    def define_pipelines(self) -> list[Any]:
        self.state.targetctx = self.state.targetctx.subtarget(_internal_codegen=_codegen())
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [one for one in passes.passes if one[0] not in NOT_NEEDED]
        passes.finalize()
        return [passes]
