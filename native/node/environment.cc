#include "environment.hpp"

#include <utility>

#include "vcpu_handle.hpp"

namespace kvmtdx::node {
namespace {

using Owner = std::shared_ptr<Environment>;

constexpr uint64_t kUnclosedReport = 0;

const char* Code(StateError::Kind kind) {
  switch (kind) {
    case StateError::Kind::kClosed:
      return "ERR_KVM_CLOSED";
    case StateError::Kind::kRunning:
      return "ERR_KVM_VCPU_RUNNING";
    case StateError::Kind::kDuplicateVcpu:
      return "ERR_KVM_DUPLICATE_VCPU";
    default:
      return "ERR_KVM_FOREIGN_OBJECT";
  }
}

}  // namespace

void Environment::Create(Napi::Env env) {
  Owner owner(new Environment(env));
  // One function for all vCPUs, with numbers as its data: nothing is allocated by a report, nothing is left by one that
  // nobody hears. Its queue has no bound, so a vCPU's thread never waits for JavaScript.
  const auto heard = [](napi_env heard_env, napi_value, void* context, void* data) {
    if (heard_env == nullptr) return;  // the environment is ending, `context` may be gone
    auto* environment = static_cast<Environment*>(context);
    Guard(heard_env, [&]() -> napi_value {
      environment->Reported(heard_env, reinterpret_cast<uint64_t>(data));
      return nullptr;
    });
  };
  const napi_status status =
      napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "kvm-tdx"), 0, 1, nullptr, nullptr,
                                      owner.get(), heard, &owner->reports_);
  NAPI_THROW_IF_FAILED_VOID(env, status);
  napi_unref_threadsafe_function(env, owner->reports_);
  // Hooks run newest first: this one ends all threads before the function above is destroyed.
  napi_add_env_cleanup_hook(
      env, [](void* self) { static_cast<Environment*>(self)->End(); }, owner.get());
  env.SetInstanceData(new Owner(std::move(owner)));
}

Owner& Environment::Of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Owner*>(data);
}

void Environment::End() noexcept {
  ended_ = true;
  systems.CloseAll();
}

std::function<void()> Environment::Report(uint64_t serial) const {
  return [reports = reports_, serial] {
    napi_call_threadsafe_function(reports, reinterpret_cast<void*>(serial), napi_tsfn_nonblocking);
  };
}

void Environment::RunStarted() {
  if (runs_++ == 0) napi_ref_threadsafe_function(env_, reports_);
}

void Environment::RunEnded() {
  if (--runs_ == 0) napi_unref_threadsafe_function(env_, reports_);
}

void Environment::ReportUnclosed(const char* kind) noexcept {
  // Told later: a finaliser must not run JavaScript. Once is enough.
  if (!ended_ && std::exchange(unclosed_, kind) == nullptr) {
    napi_call_threadsafe_function(reports_, reinterpret_cast<void*>(kUnclosedReport), napi_tsfn_nonblocking);
  }
}

void Environment::Reported(Napi::Env env, uint64_t serial) {
  if (serial == kUnclosedReport) {
    if (!on_unclosed.IsEmpty()) on_unclosed.Call({Napi::String::New(env, unclosed_)});
    return;
  }
  const auto found = vcpus_.find(serial);
  if (found != vcpus_.end()) found->second->RunDone();
}

void Environment::Raise(const Napi::FunctionReference& build, std::initializer_list<napi_value> arguments) const {
  if (build.IsEmpty()) {
    napi_throw_error(env_, nullptr, "the addon was not set up");
    return;
  }
  // Built by TypeScript, so that the stack shows the caller. If building fails, that exception is pending instead.
  napi_value error = nullptr;
  if (napi_call_function(env_, env_.Undefined(), build.Value(), arguments.size(), arguments.begin(), &error) ==
      napi_ok) {
    napi_throw(env_, error);
  }
}

void Environment::Throw(const SysError& error) const {
  const Napi::Value undefined = env_.Undefined();
  Raise(build_sys_error,
        {Napi::Number::New(env_, error.error), Napi::String::New(env_, error.syscall),
         Napi::String::New(env_, error.request), Napi::BigInt::New(env_, error.hw_error),
         error.pages_done ? Napi::Number::New(env_, static_cast<double>(*error.pages_done)) : undefined,
         error.path.empty() ? undefined : Napi::String::New(env_, error.path)});
}

void Environment::Throw(const StateError& error) const {
  Raise(build_state_error, {Napi::String::New(env_, Code(error.kind)), Napi::String::New(env_, error.message)});
}

void Environment::Throw(const ArgumentError& error) const {
  if (error.kind == ArgumentError::Kind::kType) {
    napi_throw_type_error(env_, "ERR_INVALID_ARG_TYPE", error.what());
  } else {
    napi_throw_range_error(env_, "ERR_OUT_OF_RANGE", error.what());
  }
}

void Rethrow(napi_env env) noexcept {
  try {
    try {
      throw;
    } catch (const SysError& error) {
      Environment::Of(env)->Throw(error);
    } catch (const StateError& error) {
      Environment::Of(env)->Throw(error);
    } catch (const ArgumentError& error) {
      Environment::Of(env)->Throw(error);
    } catch (const Napi::Error& error) {
      error.ThrowAsJavaScriptException();
    } catch (const std::exception& error) {
      napi_throw_error(env, nullptr, error.what());
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch): an environment that is ending takes no errors any more
  }
}

}  // namespace kvmtdx::node
