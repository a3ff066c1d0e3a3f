{
  # The build that users get: `node scripts/build-native.mjs`. CMakeLists.txt is the engineers' one.
  "targets": [
    {
      "target_name": "kvm_tdx",
      "conditions": [
        ["OS=='linux' and target_arch=='x64'", {
          "sources": ["<!@(cat native/sources.txt)"],
          "dependencies": ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except_all"],
          "defines": ["NAPI_VERSION=9", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
          "cflags_cc": ["-std=gnu++20", "-Wall", "-Wextra", "-fvisibility=hidden", "-fstack-protector-strong"],
          # nodelete: a signal handler of ours stays installed when a worker that loaded the addon ends.
          "ldflags": ["-Wl,-z,relro,-z,now,-z,nodelete"]
        }, {
          "type": "none"
        }]
      ]
    }
  ]
}
