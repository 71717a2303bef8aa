import java.io.DataOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;
import org.apache.mina.core.buffer.IoBuffer;
import org.red5.client.net.rtmp.BaseRTMPClientHandler;
import org.red5.client.net.rtmp.RTMPClient;
import org.red5.client.net.rtmpe.RTMPEClient;
import org.red5.client.net.rtmps.RTMPSClient;
import org.red5.client.net.rtmpt.RTMPTClient;
import org.red5.server.api.Red5;
import org.red5.server.api.event.IEvent;
import org.red5.server.net.ICommand;
import org.red5.server.net.rtmp.Channel;
import org.red5.server.net.rtmp.RTMPConnection;
import org.red5.server.net.rtmp.event.AudioData;
import org.red5.server.net.rtmp.event.Notify;
import org.red5.server.net.rtmp.event.Ping;
import org.red5.server.net.rtmp.event.VideoData;
import org.red5.server.net.rtmp.message.Header;
import org.red5.server.service.PendingCall;
import org.springframework.scheduling.concurrent.ThreadPoolTaskExecutor;

/**
 * A viewer without a screen on top of the Red5 project's RTMP client: an implementation that shares nothing with librtmp
 * or FFmpeg, and that can seek, pause and resume.
 *
 * Viewer URL STREAM STEP...      URL of rtmp, rtmpe, rtmpt or rtmps; steps, done in order:
 *   play=START[,LEN]             as sent on the wire, in ms
 *   buffer=MS  seek=MS  pause=MS  resume=MS
 *   stop                         closes the stream
 *   play2=NAME,TRANSITION[,OFFSET]   as Flash sends it: one object; OFFSET in seconds
 *   until=CODE                   an onStatus or onPlayStatus with that code (10 s at most)
 *   wait=MS                      lets media come
 *   record=FILE                  from here on media also go to this FLV file
 *   count                        prints "media video=N audio=N keys=N first=MS last=MS" since the last count
 *
 * Exit code: 0 all steps done, 2 not connected, 3 a status did not come.
 */
public final class Viewer {
    private static final Pattern CODE = Pattern.compile("Net(Stream|Connection)(\\.[A-Za-z]+)+");
    private final BlockingQueue<String> statuses = new ArrayBlockingQueue<>(1000);
    private BaseRTMPClientHandler client;
    private DataOutputStream record;
    private int video, audio, keys, first = -1, last = -1;

    private static void say(String line) {
        System.out.println(line);
    }

    /** Each variant is a class of its own in Red5; all have the same hooks. */
    private BaseRTMPClientHandler client(URI url) throws Exception {
        return switch (url.getScheme()) {
            case "rtmp" -> new RTMPClient() {
                @Override
                protected void onCommand(RTMPConnection conn, Channel channel, Header source, ICommand command) {
                    heard(command);
                    super.onCommand(conn, channel, source, command);
                }
            };
            case "rtmpe" -> new RTMPEClient() {
                @Override
                protected void onCommand(RTMPConnection conn, Channel channel, Header source, ICommand command) {
                    heard(command);
                    super.onCommand(conn, channel, source, command);
                }

                @Override
                public void dispatchEvent(IEvent event) {
                    media(event);
                }
            };
            case "rtmps" -> {
                String trusted = trust(url.getHost(), url.getPort());
                yield new RTMPSClient("PKCS12", "password", trusted, trusted) {
                    @Override
                    protected void onCommand(RTMPConnection conn, Channel channel, Header source, ICommand command) {
                        heard(command);
                        super.onCommand(conn, channel, source, command);
                    }
                };
            }
            case "rtmpt" -> new RTMPTClient() {
                @Override
                protected void onCommand(RTMPConnection conn, Channel channel, Header source, ICommand command) {
                    heard(command);
                    super.onCommand(conn, channel, source, command);
                }

                /** The tunnel's thread forgets its connection with the first messages, and can't read the next without it. */
                @Override
                public void messageReceived(Object message) {
                    super.messageReceived(message);
                    Red5.setConnectionLocal(getConnection());
                }
            };
            default -> throw new IllegalArgumentException(url.getScheme());
        };
    }

    /** A store that trusts the certificate this server shows now, as one does with a self-signed one: a URL of it. */
    private static String trust(String host, int port) throws Exception {
        X509TrustManager anyone = new X509TrustManager() {
            @Override
            public void checkClientTrusted(X509Certificate[] chain, String type) { }

            @Override
            public void checkServerTrusted(X509Certificate[] chain, String type) { }

            @Override
            public X509Certificate[] getAcceptedIssuers() {
                return new X509Certificate[0];
            }
        };
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] { anyone }, null);
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(host, port)) {
            socket.startHandshake();
            store.setCertificateEntry("server", socket.getSession().getPeerCertificates()[0]);
        }
        Path file = Files.createTempFile("red5-trust", ".p12");
        file.toFile().deleteOnExit();
        try (FileOutputStream out = new FileOutputStream(file.toFile())) {
            store.store(out, "password".toCharArray());
        }
        return file.toUri().toString();
    }

    private void heard(ICommand command) {
        Object[] arguments = command.getCall().getArguments();
        String name = command.getCall().getServiceMethodName();
        if (("onStatus".equals(name) || "onPlayStatus".equals(name)) && arguments != null) {
            for (Object argument : arguments) {
                if (argument instanceof Map<?, ?> info && info.get("code") != null) {
                    status(info.get("code").toString());
                }
            }
        }
    }

    private void status(String code) {
        say("status " + code);
        statuses.offer(code);
    }

    /** A data message: Red5 hands on its AMF as it came. */
    private void data(Notify notify) {
        IoBuffer body = notify.getData();
        if (body == null) return;
        byte[] bytes = new byte[body.limit()];
        body.asReadOnlyBuffer().rewind().get(bytes);
        Matcher code = CODE.matcher(new String(bytes, StandardCharsets.ISO_8859_1));
        if (code.find()) status(code.group());
    }

    private synchronized void media(IEvent event) {
        int time;
        if (event instanceof VideoData picture) {
            video++;
            if (picture.getFrameType() == VideoData.FrameType.KEYFRAME) keys++;
            time = picture.getTimestamp();
        } else if (event instanceof AudioData sound) {
            audio++;
            time = sound.getTimestamp();
        } else {
            if (event instanceof Notify notify) data(notify);
            return;
        }
        if (record != null) tag(event instanceof VideoData ? 9 : 8, time, ((org.red5.server.stream.IStreamData<?>) event).getData());
        if (first < 0) first = time;
        last = time;
    }

    private void tag(int kind, int time, IoBuffer data) {
        if (data == null) return;
        byte[] body = new byte[data.limit()];
        data.asReadOnlyBuffer().rewind().get(body);
        try {
            record.writeInt(kind << 24 | body.length);
            record.writeInt(time << 8 | time >>> 24);
            record.write(new byte[3]);
            record.write(body);
            record.writeInt(body.length + 11);
        } catch (IOException trouble) {
            throw new IllegalStateException(trouble);
        }
    }

    private synchronized void record(String file) throws IOException {
        record = new DataOutputStream(new java.io.BufferedOutputStream(new FileOutputStream(file)));
        record.writeBytes("FLV\1\5");
        record.writeInt(9);
        record.writeInt(0);
    }

    private synchronized void stopRecording() throws IOException {
        if (record != null) record.close();
        record = null;
    }

    private synchronized void count() {
        say("media video=" + video + " audio=" + audio + " keys=" + keys + " first=" + first + " last=" + last);
        video = audio = keys = 0;
        first = last = -1;
    }

    /** Red5 calls these by name when the server invokes them. */
    public static final class Callbacks {
        public void onStatus(org.red5.io.utils.ObjectMap<?, ?> info) { }
        public void onMetaData(Map<?, ?> data) { }
        public void onBWDone() { }
        public void close() { }
    }

    public static void main(String[] words) throws Exception {
        System.exit(new Viewer().run(words));
    }

    private int run(String[] words) throws Exception {
        URI url = URI.create(words[0]);
        String app = url.getRawPath().substring(1);
        client = client(url);
        client.setServiceProvider(new Callbacks());
        client.setStreamEventDispatcher(this::media);
        CompletableFuture<Object> answer = new CompletableFuture<>();
        client.setExceptionHandler(trouble -> answer.complete("" + trouble));
        Map<String, Object> parameters = client.makeDefaultConnectionParams(url.getHost(), url.getPort(), app);
        parameters.put("tcUrl", words[0]);
        client.connect(url.getHost(), url.getPort(), parameters, call -> answer.complete(call.getResult()));
        try {
            Object result = answer.get(15, TimeUnit.SECONDS);
            if (!(result instanceof Map<?, ?> info) || !"NetConnection.Connect.Success".equals(info.get("code"))) {
                say("refused " + result);
                return 2;
            }
        } catch (TimeoutException late) {
            say("no answer to connect");
            return 2;
        }
        // Red5's own executor rejects, and so loses, messages that come faster than it handles them; a recording wants all, in order.
        ThreadPoolTaskExecutor handler = new ThreadPoolTaskExecutor();
        handler.setCorePoolSize(1);
        handler.setMaxPoolSize(1);
        handler.setQueueCapacity(1 << 16);
        handler.setDaemon(true);
        handler.initialize();
        client.getConnection().setExecutor(handler);
        CompletableFuture<Number> made = new CompletableFuture<>();
        client.createStream(call -> made.complete((Number) call.getResult()));
        Number stream = made.get(10, TimeUnit.SECONDS);
        String playing = words[1];
        for (String word : List.of(words).subList(2, words.length)) {
            String[] step = word.split("=", 2);
            String[] values = step.length > 1 ? step[1].split(",") : new String[0];
            switch (step[0]) {
                case "play" -> {
                    List<Object> arguments = new ArrayList<>(List.of(words[1]));
                    for (String value : values) arguments.add(Integer.valueOf(value));
                    invoke(stream, "play", arguments.toArray());
                }
                case "buffer" -> client.ping(Ping.CLIENT_BUFFER, stream, Integer.parseInt(values[0]));
                case "seek" -> invoke(stream, "seek", Double.valueOf(values[0]));
                case "pause" -> invoke(stream, "pause", true, Double.valueOf(values[0]));
                case "resume" -> invoke(stream, "pause", false, Double.valueOf(values[0]));
                case "stop" -> invoke(stream, "closeStream");
                case "play2" -> {
                    Map<String, Object> options = new LinkedHashMap<>();
                    options.put("streamName", values[0]);
                    options.put("oldStreamName", playing);
                    options.put("start", -2);
                    options.put("len", -1);
                    options.put("transition", values[1]);
                    options.put("offset", values.length > 2 ? Double.parseDouble(values[2]) : -1.0);
                    invoke(stream, "play2", options);
                    playing = values[0];
                }
                case "record" -> record(step[1]);
                case "wait" -> Thread.sleep(Long.parseLong(values[0]));
                case "count" -> count();
                case "until" -> {
                    String code;
                    do {
                        code = statuses.poll(10, TimeUnit.SECONDS);
                    } while (code != null && !code.equals(values[0]));
                    if (code == null) {
                        say("missed " + values[0]);
                        count();
                        return 3;
                    }
                }
                default -> throw new IllegalArgumentException(word);
            }
        }
        stopRecording();
        client.disconnect();
        return 0;
    }

    /** Red5 numbers channels by stream: stream N speaks on 5 * (N - 1) + 4. */
    private void invoke(Number stream, String method, Object... arguments) {
        // Told of the server's chunk size, Red5 takes it for its own without a word; a command over 128 bytes would be unreadable.
        client.getConnection().getState().setWriteChunkSize(128);
        client.getConnection().invoke(new PendingCall(method, arguments), (stream.intValue() - 1) * 5 + 4);
    }
}
