import process from "node:process";
import { type Browser, chromium } from "playwright-core";
import { findChromium } from "./find_chromium.js";

/** Starts a browser of this machine without a window. */
export async function launchChromium(): Promise<Browser> {
  const executablePath = findChromium();
  return await chromium.launch({
    ...(executablePath ? { executablePath } : { channel: "chrome" }), // where macOS and Windows have it
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [], // Chromium's own refuses to be root's
  });
}
