import { randomUUID } from "node:crypto";
import { denoCommand } from "../tools/deno_command.ts";

const PYTHON = "/usr/bin/python3"; // the distribution's, since only that has the distribution's dbus module

/** A program that gets one silent token, or the nothing that it is compared with. */
export interface Program {
  readonly id: "nothing" | "cli" | "library" | "python" | "busctl";
  readonly name: string;
  readonly command: readonly string[];
  /** Whether the targets are for it. */
  readonly isOurs: boolean;
  /** Why it cannot be run here. */
  readonly missing?: string | undefined;
}

/** All programs. */
export function programs(clientId: string, scope: string, address: string): readonly Program[] {
  return [
    { id: "nothing", name: "empty Deno", command: denoCommand("tests/bench/nothing.ts"), isOurs: false },
    {
      id: "cli",
      name: "latchkey token",
      command: [
        ...denoCommand("bin/latchkey.ts"),
        ...["token", "--client-id", clientId, "--scope", scope, "--format", "token"],
      ],
      isOurs: true,
    },
    {
      id: "library",
      name: "examples/silent_token.ts",
      command: [...denoCommand("examples/silent_token.ts"), clientId, scope],
      isOurs: true,
    },
    {
      id: "python",
      name: "python3-dbus",
      command: [PYTHON, "tests/bench/silent_token.py", clientId, scope],
      isOurs: false,
      missing: hasPythonDbus() ? undefined : "python3-dbus is not installed",
    },
    {
      id: "busctl",
      name: "busctl, the token alone",
      command: busctlCommand(clientId, scope, address),
      isOurs: false,
      missing: Bun.which("busctl") ? undefined : "busctl is not installed",
    },
  ];
}

function hasPythonDbus(): boolean {
  return Bun.which(PYTHON) !== null && Bun.spawnSync([PYTHON, "-c", "import dbus"]).exitCode === 0;
}

function busctlCommand(clientId: string, scope: string, address: string): string[] {
  const request = {
    authParameters: {
      accessTokenToRenew: "",
      account: null,
      additionalQueryParametersForAuthorization: {},
      authority: "https://login.microsoftonline.com/common",
      authorizationType: 1,
      clientId,
      decodedClaims: "",
      enrollmentId: "",
      isSignIn: true,
      isTestMode: false,
      password: "",
      popParams: null,
      redirectUri: "https://login.microsoftonline.com/common/oauth2/nativeclient",
      requestedScopes: [scope],
      username: "",
      uxContextHandle: -1,
    },
  };
  return [
    ...["busctl", `--address=${address}`, "call", "com.microsoft.identity.broker1", "/com/microsoft/identity/broker1"],
    ...["com.microsoft.identity.Broker1", "acquireTokenSilently", "sss", "0.0", randomUUID(), JSON.stringify(request)],
  ];
}
