// SPDX-License-Identifier: Apache-2.0
// What CloudStack's KVM agent (4.21 and later) does with a host's files, by the facts of its sources, in a JVM and with the
// libraries that it has: Gson, GroovyScriptEngine, ProcessBuilder. Nothing else of an agent is here.
//
// A request is a line of JSON on stdin, its answer a line on stdout; it ends when stdin does. Fields of a request:
//   verb        discover | transform | on_start | on_stop
//   env         variables for the programs it starts, besides those it has itself
//   seconds     how long they may take (30)
//   script      discover: the path of gpudiscovery.sh
//   hooks       the others: the folder of the hooks
//   xml, name   transform: the domain; on_start, on_stop: the instance's name
// and of the answers:
//   discover    devices (what the management server is told), error (why there are no more of them, or null), bytes (of output),
//               exit (status; null: it did not end in time)
//   transform   xml: what libvirt is given
//   the hooks   ran: each hook in turn, {hook, error or null}
// An answer {"fault": text} says that the request itself was none.
import com.google.gson.Gson
import com.google.gson.GsonBuilder
import com.google.gson.JsonArray
import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import groovy.transform.Field
import groovy.util.GroovyScriptEngine
import java.util.concurrent.TimeUnit
import org.codehaus.groovy.runtime.InvokerHelper

@Field static final int SECONDS = 30

class Ended {
    Integer status // null: it did not end in time
    String text
    int bytes
}

/** stderr is part of the output, and nobody reads before the end: what does not fit into the pipe stops the program. */
Ended runProgram(List<String> argv, Map request) {
    ProcessBuilder builder = new ProcessBuilder(argv)
    builder.redirectErrorStream(true)
    builder.environment().putAll((request.env ?: [:]) as Map<String, String>)
    Process process = builder.start()
    process.outputStream.close()
    if (!process.waitFor((request.seconds ?: SECONDS) as long, TimeUnit.SECONDS)) {
        process.destroyForcibly().waitFor()
        return new Ended(status: null, text: '', bytes: 0)
    }
    byte[] output = process.inputStream.bytes
    // Lines, in the character set of the JVM, as its readers take them.
    String text = new StringReader(new String(output)).readLines().join('\n')
    return new Ended(status: process.exitValue(), text: text, bytes: output.length)
}

// ---- discovery

String textOrNull(JsonObject o, String field) {
    JsonElement e = o.get(field)
    return e == null || e.isJsonNull() ? null : e.getAsString()
}

Long numberOrNull(JsonObject o, String field) {
    JsonElement e = o.get(field)
    return e == null || e.isJsonNull() || e.getAsString().isEmpty() ? null : e.getAsLong()
}

/** Groovy would take no array for an empty one. */
JsonArray arrayOf(JsonObject o, String field) {
    return Objects.requireNonNull(o.getAsJsonArray(field), field)
}

/** What a physical device and its instances have in common. */
Map common(JsonObject o) {
    return [numa_node: textOrNull(o, 'numa_node'), pci_root: textOrNull(o, 'pci_root'),
            max_instances: numberOrNull(o, 'max_instances'), video_ram: numberOrNull(o, 'video_ram'),
            max_heads: numberOrNull(o, 'max_heads'), max_resolution_x: numberOrNull(o, 'max_resolution_x'),
            max_resolution_y: numberOrNull(o, 'max_resolution_y')]
}

void takeGpu(JsonObject gpu, List<Map> devices) {
    Map card = [vendor_id: gpu.get('vendor_id').getAsString(), device_id: gpu.get('device_id').getAsString(),
                vendor: gpu.get('vendor').getAsString(), device: gpu.get('device').getAsString()]
    card.name = card.vendor + ' ' + card.device
    String address = gpu.get('pci_address').getAsString()
    Map places = [numa_node: textOrNull(gpu, 'numa_node'), pci_root: textOrNull(gpu, 'pci_root')]
    JsonObject whole = gpu.getAsJsonObject('full_passthrough')
    // A number: true is none.
    boolean enabled = whole.get('enabled').getAsInt() == 1
    devices << card + common(gpu) + [bus_address: address, parent: null, profile: 'passthrough', type: enabled ? 'PCI' : 'VGPUOnly',
                                     vm: textOrNull(whole, 'used_by_vm')]
    for (JsonElement e : arrayOf(gpu, 'vgpu_instances')) {
        JsonObject o = e.getAsJsonObject()
        String profile = textOrNull(o, 'profile_name')
        if (profile) {
            devices << card + common(o) + places + [bus_address: o.get('mdev_uuid').getAsString(), parent: address, profile: profile,
                                                    type: 'MDEV', vm: textOrNull(o, 'used_by_vm')]
        }
    }
    for (JsonElement e : arrayOf(gpu, 'vf_instances')) {
        JsonObject o = e.getAsJsonObject()
        devices << card + common(o) + places + [bus_address: o.get('vf_pci_address').getAsString(), parent: address,
                                                profile: o.get('vf_profile').getAsString(), type: 'PCI', vm: textOrNull(o, 'used_by_vm')]
    }
}

Map discover(Map request) {
    Ended ended = runProgram([request.script as String], request)
    List<Map> devices = []
    String error = null
    // What a failed one printed is taken for the list as well.
    try {
        if (ended.status == null) {
            throw new IOException('it did not end in time')
        }
        for (JsonElement gpu : arrayOf(JsonParser.parseString(ended.text).getAsJsonObject(), 'gpus')) {
            takeGpu(gpu.getAsJsonObject(), devices)
        }
    } catch (Exception e) {
        error = e.toString()
    }
    return [devices: devices, error: error, bytes: ended.bytes, exit: ended.status]
}

// ---- hooks

class Log {
    List<String> lines = []

    void info(Object text, Object... more) { lines << text.toString() }
    void warn(Object text, Object... more) { lines << text.toString() }
    void error(Object text, Object... more) { lines << text.toString() }
    void debug(Object text, Object... more) { lines << text.toString() }
}

Object runGroovy(File hook, String method, String argument) {
    GroovyScriptEngine engine = new GroovyScriptEngine(hook.parent)
    Object object = engine.run(hook.name, new Binding())
    return InvokerHelper.invokeMethod(object, method, [new Log(), argument] as Object[])
}

Object runShell(File hook, String method, String argument, Map request) {
    Ended ended = runProgram([hook.path, method, argument], request)
    if (ended.status != 0) {
        throw new IOException(ended.status == null ? 'it did not end in time' : "exit ${ended.status}: ${ended.text}")
    }
    return ended.text
}

/** Groovy's first, then the shell's with what that one made of it. One that fails or returns nothing counts as if it were not there. */
String runHooks(Map request, String name, String method, String argument, List<Map> ran) {
    for (String kind : ['groovy', 'sh']) {
        File hook = new File(request.hooks as String, "${name}.${kind}")
        if (!hook.exists()) {
            continue
        }
        String error = null
        try {
            Object result = kind == 'groovy' ? runGroovy(hook, method, argument) : runShell(hook, method, argument, request)
            if (result == null) {
                error = 'nothing was returned'
            } else if (method == 'transform') {
                argument = result.toString()
            }
        } catch (Throwable e) {
            error = e.toString()
        }
        ran << [hook: hook.name, error: error]
    }
    return argument
}

Map answer(Map request) {
    List<Map> ran = []
    switch (request.verb) {
        case 'discover':
            return discover(request)
        case 'transform':
            return [xml: runHooks(request, 'libvirt-vm-xml-transformer', 'transform', request.xml as String, ran), ran: ran]
        case 'on_start':
            runHooks(request, 'libvirt-vm-state-change', 'onStart', request.name as String, ran)
            return [ran: ran]
        case 'on_stop':
            runHooks(request, 'libvirt-vm-state-change', 'onStop', request.name as String, ran)
            return [ran: ran]
        default:
            return [fault: "no verb '${request.verb}'"]
    }
}

Gson gson = new GsonBuilder().serializeNulls().disableHtmlEscaping().create()
PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, 'UTF-8')
System.setOut(System.err) // what hooks of Groovy print is no answer
new BufferedReader(new InputStreamReader(System.in, 'UTF-8')).eachLine { line ->
    Map said
    try {
        said = answer(gson.fromJson(line, Map))
    } catch (Throwable e) {
        said = [fault: e.toString()]
    }
    out.println(gson.toJson(said))
}
