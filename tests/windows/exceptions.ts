/** Suites and tests that do not run on Windows or under Wine, each with the reason. */

/** By module that a suite reaches, why Windows has nothing for it. */
export const NEEDS: Readonly<Record<string, string>> = {
  "tests/fakes/private_bus.ts": "they start a D-Bus session bus",
  "tests/fakes/private_redis.ts": "they start Redis, which has no program for Windows",
};

export interface Exception {
  /** Beginnings of paths below `tests`. */
  readonly suites: readonly string[];
  /** The tests; without it the whole suite does not run. */
  readonly test?: RegExp;
  /** Beginnings of the names of the runtimes that it is about. @default all */
  readonly runtimes?: readonly string[];
  /** True if Windows itself passes it. @default false */
  readonly isWineOnly?: boolean;
  readonly why: string;
}

const SHELLS = "Windows lacks the POSIX shells that it starts";
const MODES = "it is about POSIX' file modes and owners, for which Windows has access lists";

export const EXCEPTIONS: readonly Exception[] = [
  {
    suites: [
      ...["repository/", "demo_test.ts", "pictures/", "soak/", "msal/", "azure_cli/", "containers/", "examples/"],
      ...["tools/set_up_test.ts", "tools/test_run_test.ts"],
    ],
    why: "they hold the checkout, or start Linux' programs; the system makes no difference to what they test",
  },
  { suites: ["bin/commands/browser_host/browser_host_test.ts"], why: "it plays a browser on Unix' pipes" },
  { suites: ["bin/commands/doctor/device_test.ts"], test: /deviceRegistration/, why: "dsreg is Linux' program" },
  {
    suites: ["bin/commands/mcp/for_server_test.ts"],
    why: "they play a terminal with script(1)",
  },
  {
    suites: ["bin/commands/kube/install_test.ts"],
    test: /cannot read the kubeconfig|follows KUBECONFIG|that others could have put there/,
    why: "it makes symbolic links, which take a privilege on Windows",
  },
  {
    suites: ["bin/commands/mcp/mcp_test.ts"],
    why: "Bun under Wine prints messages of its own on stderr, and does not end a process that reads from a pipe",
    isWineOnly: true,
  },
  {
    suites: ["bin/cli/words_of_windows_test.ts"],
    test: /in the table of words/,
    why: "git lists the sources, and is not installed under Wine",
    isWineOnly: true,
  },
  {
    suites: ["bin/cli/failures_test.ts"],
    test: /read no hint/,
    why: "git lists the sources, and is not installed under Wine",
    isWineOnly: true,
  },
  {
    suites: ["bin/cli/commands_test.ts"],
    test: /every module that declares a command/,
    why: "Bun under Wine lists only the folders of a folder, and not theirs",
    isWineOnly: true,
  },
  {
    suites: ["lib/oauth/bounded_fetch_test.ts"],
    test: /nobody there is no_network/,
    why: "Bun under Wine waits for a port on which no program listens",
    isWineOnly: true,
  },
  { suites: ["bin/cli/formats_test.ts"], test: /--format env gives a shell/, why: SHELLS },
  { suites: ["bin/cli/failures_test.ts"], test: /gives a command that (sh|fish) runs/, why: SHELLS },
  {
    suites: ["bin/cli/failures_test.ts"],
    test: /a fault of the program|an incomplete download/,
    why: "they start the command line on each runtime, as Windows' own suite does",
  },
  { suites: ["lib/runtime/host_test.ts"], test: /quoteCommand\(\) for (sh|bash|zsh|fish)/, why: SHELLS },
  { suites: ["bin/cli/completions_test.ts", "bin/cli/help_test.ts", "bin/shell_test.ts"], why: SHELLS },
  { suites: ["bin/commands/serve/identity_endpoint_test.ts"], test: /as a shell takes it/, why: SHELLS },
  {
    suites: ["lib/runtime/process_contract.ts"],
    test: /the signal's number|friendly signal|cannot be run|prints too much|kills what|by a grandchild|startDetached/,
    why: "it is about POSIX' signals, process groups and named pipes",
  },
  { suites: ["lib/runtime/browser_contract.ts"], why: SHELLS },
  { suites: ["lib/deno_permissions_test.ts"], why: SHELLS },
  { suites: ["lib/files/placed_file_test.ts", "lib/files/permissions_test.ts"], why: MODES },
  { suites: ["lib/files/known_file_contract.ts"], test: /that others can write/, why: MODES },
  { suites: ["bin/commands/kube/install_test.ts"], test: /folder that others can write/, why: MODES },
  { suites: ["bin/commands/az/shim_test.ts"], test: /that others can change/, why: MODES },
  {
    suites: ["lib/cache/file_store_test.ts"],
    test: /for this user alone|a link is refused|where nothing may be written/,
    why: MODES,
  },
  {
    suites: ["lib/cache/file_store_test.ts"],
    test: /the file cannot be looked at/,
    why: "it makes a loop of symbolic links, which take a privilege on Windows",
  },
  { suites: ["lib/files/user_folders_contract.ts"], why: "it is about XDG's folders" },
  { suites: ["lib/files/files_test.ts"], test: /by number/, why: "the numbers are Linux'" },
  {
    suites: [
      "lib/http/server_contract.ts",
      "bin/commands/serve/forward_test.ts",
      "bin/commands/serve/upstream_contract.ts",
    ],
    why: "they listen on Unix sockets, which latchkey refuses on Windows",
  },
  {
    suites: ["bin/commands/serve/upstream_attacks_contract.ts"],
    test: /a socket takes requests|as many requests/,
    why: "they listen on Unix sockets, which latchkey refuses on Windows",
  },
  {
    suites: ["bin/commands/serve/identity_endpoint_contract.ts"],
    test: /ten thousand requests|one too many|three hundred clients/,
    why: "they listen on Unix sockets, which latchkey refuses on Windows",
  },
  {
    suites: ["lib/http/loopback_contract.ts", "lib/browser_attacks_test.ts"],
    test: /another user of the machine/,
    why: "it becomes another user with sudo",
  },
  { suites: ["lib/http/loopback_contract.ts"], test: /has the port for itself/, why: "SO_REUSEPORT is Linux'" },
  {
    suites: ["lib/http/client_contract.ts"],
    test: /folders that SSL_CERT_DIR names/,
    why: "its value has Unix' colon between two folders",
  },
  {
    suites: ["lib/cache/file_store_fuzz_test.ts"],
    why: "it writes a file thousands of times, for which Wine takes minutes",
    isWineOnly: true,
  },
  {
    suites: ["lib/edge_test.ts"],
    why: "workerd for Windows is not installed; the bundle is the same",
    isWineOnly: true,
  },
  {
    suites: ["build/bundle_test.ts"],
    why: "Bun under Wine makes no folder for the chunks of a bundle",
    isWineOnly: true,
  },
  {
    suites: ["build/deno_runtime_test.ts", "build/sbom_test.ts"],
    why: "the bundler's native part for Windows is not installed",
    isWineOnly: true,
  },
  {
    suites: ["lib/http/loopback_contract.ts"],
    test: /tells that a port is taken/,
    runtimes: ["Deno"],
    why: "Wine lets Deno listen on a port that is taken",
    isWineOnly: true,
  },
  {
    suites: ["lib/runtime/installation_test.ts"],
    test: /from the network/,
    why: "it plays JSR's registry with a cache folder of Deno's, which Deno under Wine does not make",
    isWineOnly: true,
  },
  {
    suites: ["lib/runtime/msys_terminal_on_windows.ts"],
    runtimes: ["Bun", "Deno"],
    why: "only Node gives a named pipe to the programs that it starts, and those are Bun and Deno",
  },
  {
    suites: ["lib/chromium_test.ts", "bin/commands/browser_host/browser_chromium_test.ts"],
    why: "they start Chromium",
  },
  {
    suites: [
      ...["commands/browser_host/install", "cli/sign_in", "renewal"]
        .map((suite) => `bin/${suite}_test.ts`),
      "bin/commands/serve/serve_test.ts",
    ],
    why: "they start shell scripts, or play Linux' broker; Windows' own suite starts the command line",
  },
  { suites: ["lib/broker/msalruntime_addon_test.ts"], test: /openMsalRuntime\(\) on/, why: "it starts shell scripts" },
  { suites: ["lib/dbus/open_test.ts"], test: /openSessionBus/, why: "Windows has no session bus" },
  { suites: ["lib/http/loopback_test.ts"], why: "it takes the address ::1 away in a network namespace" },
  {
    suites: ["lib/files/private_files_contract.ts"],
    test: /path that is not safe|disk that does not serve|others may read|owner alone|has it open|through a link/,
    why: MODES,
  },
  {
    suites: ["lib/files/private_files_contract.ts"],
    runtimes: ["Deno"],
    why: "it hangs under Wine, where a file that Deno has open and removes keeps its name until it is closed",
    isWineOnly: true,
  },
  {
    suites: ["lib/cache/many_processes_"],
    why:
      "Deno's processes hang under Wine, where a file that one has open and removes keeps its name until it is closed",
    isWineOnly: true,
  },
  {
    suites: ["lib/files/lock_contract.ts"],
    why: "it plays other machines and boots with what Linux' /proc says; many_processes_test.ts has the lock itself",
  },
];
