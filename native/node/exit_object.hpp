#pragma once

#include <napi.h>

#include "../core/exit.hpp"

namespace kvmtdx::node {

/** The exit as one of the objects of src/kvm/exits.ts. */
Napi::Object ToObject(Napi::Env env, const Exit& exit);

}  // namespace kvmtdx::node
