/**
 * Commands that other programs call: git, kubectl, Azure's SDKs, browsers.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { BROWSER_CLIENT_ID, PROFILE, VERBOSE } from "./command_options.ts";

/** These commands, in the order of the help. */
export const TOOL_COMMANDS: readonly Command[] = [
  {
    name: "browser-host",
    summary: "Sign browsers in: the native messaging host of the extension linux-entra-sso",
    usage: "browser-host --install [--browser NAME...] [options]",
    operands: 2, // browsers name the manifest or the extension that it is started for
    options: [
      { name: "install", kind: "switch", environment: false, summary: "Tell browsers of it: write their manifests" },
      { name: "uninstall", kind: "switch", environment: false, summary: "Take that back" },
      {
        name: "browser",
        kind: "list",
        value: "NAME",
        environment: false,
        summary: "firefox, thunderbird, librewolf, chromium, chrome, edge, brave or vivaldi (those that were started)",
      },
      {
        name: "extension-id",
        kind: "list",
        value: "ID",
        environment: false,
        summary: "Let this extension use it as well: one that you built",
      },
      { name: "force", kind: "switch", environment: false, summary: "Replace another program's manifest" },
      BROWSER_CLIENT_ID,
      PROFILE,
      {
        name: "parent-window",
        kind: "text",
        value: "HANDLE",
        environment: false,
        summary: "What Chromium adds on Windows; without effect",
      },
      VERBOSE,
    ],
    examples: [
      ["latchkey browser-host --install", "for every browser that this person has started"],
      ["latchkey browser-host --install --browser firefox --browser chromium", "for these"],
      ["latchkey browser-host --uninstall", "as it was before"],
    ],
  },
];
