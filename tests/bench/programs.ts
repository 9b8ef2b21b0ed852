import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { denoCommand } from "../tools/deno_command.ts";
import { findTool, MSAL_NODE_EXTENSIONS, MSAL_PYTHON, PYMSALRUNTIME } from "../tools/find_tool.js";

const PYTHON = "/usr/bin/python3"; // the distribution's, since only that has the distribution's dbus module

/** A program that gets one silent token, or the nothing that it is compared with. */
export interface Program {
  readonly id: "nothing" | "floor" | "cli" | "library" | "python" | "busctl" | "msal-python" | "msal-node";
  readonly name: string;
  readonly command: readonly string[];
  /** Whether the targets are for it. */
  readonly isOurs: boolean;
  /** Why it cannot be run here. */
  readonly missing?: string | undefined;
}

/** Where programs run. */
export interface Stage {
  /** Address of the bus that the broker is on. */
  readonly address: string;
  /** A home of their own: Microsoft's library keeps things there. */
  readonly home: string;
}

/** All programs. */
export function programs(clientId: string, scope: string, { address, home }: Stage): readonly Program[] {
  const session = [`HOME=${home}`, `DBUS_SESSION_BUS_ADDRESS=${address}`];
  const msalPython = ["env", ...session, `PYTHONPATH=${MSAL_PYTHON}:${PYMSALRUNTIME}`, "python3"];
  const msalNode = ["env", ...session, findTool("node")];
  return [
    { id: "nothing", name: "empty Deno", command: denoCommand("tests/bench/nothing.ts"), isOurs: false },
    {
      id: "floor",
      name: "its three D-Bus calls alone",
      command: [...denoCommand("tests/bench/floor.ts"), clientId, scope],
      isOurs: false,
    },
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
      id: "msal-python",
      name: "MSAL for Python, its broker",
      command: [...msalPython, "tests/bench/broker_token.py", clientId, scope],
      isOurs: false,
      missing: complaintOf([...msalPython, "-c", "import msal, pymsalruntime"]),
    },
    {
      id: "msal-node",
      name: "MSAL for Node, its broker",
      command: [...msalNode, "tests/bench/broker_token.mjs", clientId, scope, MSAL_NODE_EXTENSIONS],
      isOurs: false,
      missing: complaintOf([
        ...[...msalNode, "--input-type=commonjs", "--eval"],
        `require(${
          JSON.stringify(join(MSAL_NODE_EXTENSIONS, "../msal-node-runtime"))
        }).msalNodeRuntime.AuthParameters.name`,
      ]),
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

/** Microsoft's library looks for one when it starts. */
export function hasKeyring(): boolean {
  return Bun.which("gnome-keyring-daemon") !== null;
}

/** Why a program of Microsoft's cannot be run: the last that it says. */
function complaintOf(command: readonly string[]): string | undefined {
  if (!hasKeyring()) return "gnome-keyring-daemon is not installed";
  const { exitCode, stderr } = Bun.spawnSync([...command], { stdio: ["ignore", "ignore", "pipe"] });
  return exitCode === 0 ? undefined : stderr.toString().trim().split("\n").at(-1) || `exit code ${exitCode}`;
}

function hasPythonDbus(): boolean {
  return Bun.which(PYTHON) !== null && Bun.spawnSync([PYTHON, "-c", "import dbus"]).exitCode === 0;
}

/** A request for a token, as the broker wants it. */
export function tokenRequest(clientId: string, scope: string): string {
  return JSON.stringify({
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
  });
}

function busctlCommand(clientId: string, scope: string, address: string): string[] {
  return [
    ...["busctl", `--address=${address}`, "call", "com.microsoft.identity.broker1", "/com/microsoft/identity/broker1"],
    ...[
      "com.microsoft.identity.Broker1",
      "acquireTokenSilently",
      "sss",
      "0.0",
      randomUUID(),
      tokenRequest(clientId, scope),
    ],
  ];
}
