/** Suites and tests that do not run on Windows or under Wine, each with the reason. */

/** By module that a suite reaches, why Windows has nothing for it. */
export const NEEDS: Readonly<Record<string, string>> = {
  "tests/fakes/private_bus.ts": "they start a D-Bus session bus",
  "tests/fakes/private_keyring.ts": "they start a D-Bus keyring",
  "tests/fakes/private_redis.ts": "they start Redis, which has no program for Windows",
  "tests/tools/start_postgres.ts": "they start PostgreSQL",
  "tests/tools/git_server.ts": "they start git and its server",
  "tests/tools/wsl_machine.ts": "they play WSL in a mount namespace",
  "tests/tools/launch_chromium.ts": "they start Chromium",
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

export const EXCEPTIONS: readonly Exception[] = [
  {
    suites: ["repository/", "demo_test.ts", "pictures/", "soak/", "msal/", "azure_cli/", "containers/", "examples/"],
    why: "what they hold does not depend on the system, and they start Linux' programs",
  },
];
