// @ts-self-types="npm:@modelcontextprotocol/client@2.4.0"
// What deno.json has in place of the package; `Client` is for an example.
import { loadPackage } from "../runtime/installation.ts";

export const { Client, StreamableHTTPClientTransport } = await loadPackage("npm:@modelcontextprotocol/client@2.4.0");
