// A core object in JavaScript's hands.
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "convert.hpp"
#include "environment.hpp"

namespace kvmtdx::node {

/**
 * `Self` has a kTag, a kName and a static Methods(). Its objects are made by Make only, carry the tag, and close what
 * they wrap when they are collected.
 */
template <typename Self, typename Core>
class Handle : public Napi::ObjectWrap<Self> {
 public:
  explicit Handle(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<Self>(info),
        environment_(Environment::Of(info.Env())),
        core_(std::static_pointer_cast<Core>(std::exchange(environment_->incoming, nullptr))) {
    if (core_ == nullptr) {
      throw Napi::TypeError::New(info.Env(), std::string(Self::kName) + " cannot be constructed from JavaScript");
    }
    this->Value().TypeTag(&Self::kTag);
  }

  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  ~Handle() override {
    if (core_ == nullptr || core_->closed()) return;
    const bool forgotten = Self::Forgotten(*core_);
    core_->Close();
    if (forgotten) environment_->ReportUnclosed(Self::kName);
  }

  static void Define(Napi::Env env, Environment& environment) {
    const auto constructor = Napi::ObjectWrap<Self>::DefineClass(env, Self::kName, Self::Methods());
    environment.constructors[&Self::kTag] = Napi::Persistent(constructor);
  }

  static Napi::Object Make(Environment& environment, const std::shared_ptr<Core>& core) {
    environment.incoming = core;
    return environment.constructors[&Self::kTag].New({});
  }

  /** The handle that an argument is. @throws ArgumentError for anything that is not a `Self` of this addon. */
  static Self& From(const Napi::Value& value, const char* name) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&Self::kTag)) {
      ThrowType(std::string(name) + " must be a " + Self::kName + " of the native backend");
    }
    return *Self::Unwrap(value.As<Napi::Object>());
  }

  /** As an argument of a function that is not a method: no handle, but what one wraps. */
  using CoreFunction = napi_value (*)(napi_env env, Core& core, napi_value argument);

  Core& core() const { return *core_; }
  Environment& environment() const { return *environment_; }

  /** Whether an object that is collected unclosed was somebody's mistake. */
  static bool Forgotten(const Core& /*core*/) { return true; }

 protected:
  using Properties = std::vector<Napi::ClassPropertyDescriptor<Self>>;

  /** `name` as a method of the class. `Member` is Napi::Value (Self::*)(const Arguments&). */
  template <auto Member>
  static Napi::ClassPropertyDescriptor<Self> Method(const char* name) {
    return napi_property_descriptor{name,    nullptr, &Called<Member>,     nullptr,
                                    nullptr, nullptr, napi_default_method, nullptr};
  }

  /**
   * Gives `object` a function of its own that has what it works on at hand: napi_unwrap() would take a quarter of the
   * time of the cheapest ioctl. The function shares the core object, so it may outlive the handle.
   */
  template <CoreFunction Function>
  static void Bind(Napi::Object object, const char* name, std::shared_ptr<Core> core) {
    const Napi::Env env = object.Env();
    auto owned = std::make_unique<std::shared_ptr<Core>>(std::move(core));
    napi_value function = nullptr;
    NAPI_THROW_IF_FAILED_VOID(
        env, napi_create_function(env, name, NAPI_AUTO_LENGTH, &CalledBound<Function>, owned.get(), &function));
    NAPI_THROW_IF_FAILED_VOID(env, napi_add_finalizer(env, function, owned.get(), &Unbind, nullptr, nullptr));
    owned.release();  // the finaliser's now
    object.Set(name, Napi::Value(env, function));
  }

  Napi::Value Close(const Arguments& arguments) {
    core_->Close();
    return arguments.env().Undefined();
  }
  Napi::Value IsClosed(const Arguments& arguments) { return Napi::Boolean::New(arguments.env(), core_->closed()); }

 private:
  template <CoreFunction Function>
  static napi_value CalledBound(napi_env env, napi_callback_info raw) noexcept {
    return Guard(env, [&] {
      size_t count = 1;
      napi_value argument = nullptr;  // undefined if there is none
      void* core = nullptr;
      napi_get_cb_info(env, raw, &count, &argument, nullptr, &core);
      return Function(env, **static_cast<std::shared_ptr<Core>*>(core), argument);
    });
  }

  static void Unbind(napi_env /*env*/, void* core, void* /*hint*/) noexcept {
    delete static_cast<std::shared_ptr<Core>*>(core);
  }

  template <auto Member>
  static napi_value Called(napi_env env, napi_callback_info raw) noexcept {
    return Guard(env, [&]() -> napi_value {
      const Napi::CallbackInfo info(env, raw);
      // The engine runs a method of a class on instances of that class only (napi_define_class gives it a signature),
      // so what is wrapped is a Self. Arguments have no such guard: From() looks at their tags.
      void* wrapped = nullptr;
      if (napi_unwrap(env, info.This(), &wrapped) != napi_ok) ThrowType("called on an object of another class");
      return (static_cast<Self*>(wrapped)->*Member)(Arguments(info));
    });
  }

  std::shared_ptr<Environment> environment_;
  std::shared_ptr<Core> core_;
};

}  // namespace kvmtdx::node
